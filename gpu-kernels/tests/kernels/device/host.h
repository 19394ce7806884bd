// Runs the text of a kernel on the host: CUDA's words in plain C++. Each thread of a block is a coroutine that runs until
// it waits for others (at a barrier, a shuffle, a tensor product); blocks run one after another. So index arithmetic,
// barriers and the order of additions are those of a device; speed and data races are not. Threads take their turns in
// the order of `host_order`: an answer that depends on it has a barrier missing.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct Triple { unsigned x, y, z; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct uint4 { unsigned x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace host {

enum Waits { Nothing, ForBlock, ForLanes, Done };

struct Thread {
    // Where it goes on; the first time it starts on its own stack.
    jmp_buf here;
    ucontext_t context;
    std::vector<char> stack;
    Triple index;
    Waits waits;
};

static Triple blocks, block, threads;
static jmp_buf scheduler;
static Thread all[1024];
static unsigned count;
static Thread* current;
static unsigned char* shared_bytes;
static void (*body)(void*);
static void* body_of;

struct Slot { float value; unsigned a[4], b[2]; };
static Slot slots[1024];

static void wait(Waits for_what) {
    Thread* self = current;
    self->waits = for_what;
    if (_setjmp(self->here) == 0) _longjmp(scheduler, 1);
}

// A coroutine serves one block after another.
static void start() {
    for (;;) {
        body(body_of);
        wait(Done);
    }
}

static void resume(Thread& thread) {
    if (_setjmp(scheduler) != 0) return;
    current = &thread;
    if (!thread.stack.empty()) _longjmp(thread.here, 1);
    thread.stack.resize(128 << 10);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, start, 0);
    setcontext(&thread.context);
}

static unsigned lane() { return current->index.x % 32; }
static Slot* lanes() { return &slots[current->index.x / 32 * 32]; }

// Lets those go on whose companions have all come. False if nobody could.
static bool release() {
    bool any = false;
    unsigned at_barrier = 0, done = 0;
    for (unsigned at = 0; at < count; at++) {
        at_barrier += all[at].waits == ForBlock;
        done += all[at].waits == Done;
    }
    if (at_barrier > 0 && at_barrier + done == count) {
        for (unsigned at = 0; at < count; at++) {
            if (all[at].waits == ForBlock) all[at].waits = Nothing;
        }
        return true;
    }
    for (unsigned first = 0; first < count; first += 32) {
        unsigned end = first + 32 < count ? first + 32 : count, here = 0;
        for (unsigned at = first; at < end; at++) here += all[at].waits == ForLanes;
        if (here != end - first) continue;
        for (unsigned at = first; at < end; at++) all[at].waits = Nothing;
        any = true;
    }
    return any;
}

}  // namespace host

extern "C" unsigned host_order = 0;

namespace host {

static void run_block() {
    for (unsigned at = 0; at < count; at++) {
        all[at].index = {at, 0, 0};
        all[at].waits = Nothing;
    }
    for (;;) {
        bool done = true;
        for (unsigned turn = 0; turn < count; turn++) {
            unsigned at = host_order == 0 ? turn : host_order == 1 ? count - 1 - turn : (turn * 37 + 11) % count;
            if (all[at].waits == Nothing) resume(all[at]);
            done &= all[at].waits == Done;
        }
        if (done) return;
        if (!release()) {
            fprintf(stderr, "threads of a block wait for each other in vain\n");
            abort();
        }
    }
}

template <class F>
static void run(const unsigned* grid, unsigned per_block, unsigned shared, F f) {
    blocks = {grid[0], grid[1], grid[2]};
    threads = {per_block, 1, 1};
    count = per_block;
    std::vector<unsigned char> memory(shared + 16);
    shared_bytes = (unsigned char*)(((uintptr_t)memory.data() + 15) / 16 * 16);
    body = [](void* of) { (*(F*)of)(); };
    body_of = &f;
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                block = {x, y, z};
                memset(memory.data(), 0xA5, memory.size());
                run_block();
            }
}

template <class... A, size_t... I>
static void call(void (*f)(A...), void** arguments, std::index_sequence<I...>) {
    f(*(std::remove_const_t<A>*)arguments[I]...);
}

template <class... A>
static void launch(void (*f)(A...), const unsigned* grid, unsigned per_block, unsigned shared, void** arguments) {
    run(grid, per_block, shared, [=] { call(f, arguments, std::index_sequence_for<A...>{}); });
}

}  // namespace host

#define EXPORT(name)                                                                                       \
    extern "C" void launch_##name(const unsigned* grid, unsigned per_block, unsigned shared, void** of) {  \
        host::launch(name, grid, per_block, shared, of);                                                  \
    }

#define threadIdx (host::current->index)
#define blockIdx host::block
#define blockDim host::threads
#define gridDim host::blocks
#define SHARED_BYTES(name) unsigned char* name = host::shared_bytes
#define INFINITE INFINITY

static inline void __syncthreads() { host::wait(host::ForBlock); }
static inline void wait_for_lanes() { host::wait(host::ForLanes); }

template <class T>
static inline T add_to(T* to, T value) { T old = *to; *to = old + value; return old; }
static inline float atomicAdd(float* to, float value) { return add_to(to, value); }
static inline double atomicAdd(double* to, double value) { return add_to(to, value); }
static inline unsigned atomicAdd(unsigned* to, unsigned value) { return add_to(to, value); }
static inline unsigned atomicMin(unsigned* to, unsigned value) { unsigned old = *to; if (value < old) *to = value; return old; }

static inline void must_lie_on_16_bytes(const void* at) {
    if ((uintptr_t)at % 16) { fprintf(stderr, "an address is not on 16 bytes\n"); abort(); }
}

static inline float4 load_fresh(const float4* from) { must_lie_on_16_bytes(from); return *from; }
static inline uint4 load_fresh(const uint4* from) { must_lie_on_16_bytes(from); return *from; }

static inline void add_floats(float* to, float4 v) {
    must_lie_on_16_bytes(to);
    to[0] += v.x; to[1] += v.y; to[2] += v.z; to[3] += v.w;
}

static inline unsigned bits_of(float value) { unsigned bits; memcpy(&bits, &value, 4); return bits; }
static inline float float_of_bits(unsigned bits) { float value; memcpy(&value, &bits, 4); return value; }

static inline float float_of_half(unsigned half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent == 31 ? (fraction ? NAN : INFINITY)
                : exponent == 0 ? ldexpf((float)fraction, -24)
                : ldexpf((float)(fraction | 1024), exponent - 25);
    return half & 0x8000 ? -value : value;
}

// Rounds to the nearest, ties to even.
static inline unsigned half_of_float(float value) {
    unsigned sign = bits_of(value) >> 16 & 0x8000;
    float size = fabsf(value);
    if (std::isnan(value)) return sign | 0x7E00;
    if (size >= 65520.0f) return sign | 0x7C00;
    if (size < ldexpf(1, -14)) return sign | (unsigned)rintf(ldexpf(size, 24));
    int exponent;
    float fraction = frexpf(size, &exponent);
    return sign | ((unsigned)(exponent + 14) << 10) + (unsigned)(rintf(ldexpf(fraction, 11)) - 1024.0f);
}

static inline float2 floats_of_halves(unsigned halves) {
    return {float_of_half(halves & 0xFFFF), float_of_half(halves >> 16)};
}
static inline unsigned halves_of_floats(float first, float second) {
    return half_of_float(first) | half_of_float(second) << 16;
}

static inline void add_halves(unsigned short* to, uint4 v) {
    must_lie_on_16_bytes(to);
    unsigned words[4] = {v.x, v.y, v.z, v.w};
    for (int at = 0; at < 8; at++) {
        float add = float_of_half(words[at / 2] >> (at % 2 * 16) & 0xFFFF);
        to[at] = (unsigned short)half_of_float(float_of_half(to[at]) + add);
    }
}

static inline unsigned brain_of_float(float value) {
    unsigned bits = bits_of(value);
    if (std::isnan(value)) return 0x7FFF;
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
static inline unsigned brains_of_floats(float first, float second) {
    return brain_of_float(first) | brain_of_float(second) << 16;
}

static inline float shuffle_xor(float value, unsigned bits) {
    host::lanes()[host::lane()].value = value;
    wait_for_lanes();
    float other = host::lanes()[host::lane() ^ bits].value;
    wait_for_lanes();
    return other;
}

static inline void copy_async(void* to, const void* from, bool there) {
    must_lie_on_16_bytes(to);
    must_lie_on_16_bytes(from);
    if (there) memcpy(to, from, 16); else memset(to, 0, 16);
}
static inline void copy_commit() {}
template <int LEFT> static inline void copy_wait() {}

static inline void tensor_product(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    unsigned lane = host::lane(), g = lane / 4, t = lane % 4;
    memcpy(host::lanes()[lane].a, a, sizeof a);
    memcpy(host::lanes()[lane].b, b, sizeof b);
    wait_for_lanes();
    for (unsigned at = 0; at < 4; at++) {
        unsigned row = g + at / 2 * 8, column = 2 * t + at % 2;
        double sum = 0;
        for (unsigned k = 0; k < 16; k++) {
            unsigned holder_a = row % 8 * 4 + k % 8 / 2, word_a = row / 8 + k / 8 * 2;
            unsigned holder_b = column * 4 + k % 8 / 2, word_b = k / 8;
            unsigned x = host::lanes()[holder_a].a[word_a] >> (k % 2 * 16) & 0xFFFF;
            unsigned y = host::lanes()[holder_b].b[word_b] >> (k % 2 * 16) & 0xFFFF;
            sum += (double)float_of_bits(x << 16) * float_of_bits(y << 16);
        }
        sums[at] = (float)(sums[at] + sum);
    }
    wait_for_lanes();
}
