// What all kernels share: 16-byte loads that see other blocks' additions, additions without an answer, sums over lanes,
// 16-bit floats, copies that go on by themselves, and the tensor product. Every inline instruction is in this file.
//
// The tests compile kernels as plain C++ with TANDEM_HOST defined; their header then has functions of the same names.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/// As in Rust: a user's row, an item's row, a value.
struct Rating {
    u32 user;
    u32 item;
    float value;
};

#ifndef TANDEM_HOST

/// Shared memory whose size is given at the launch.
#define SHARED_BYTES(name) extern __shared__ __align__(16) u8 name[]

#define EVERY_LANE 0xFFFFFFFFu

// Reads from L2: the first cache does not see what others add.
__device__ __forceinline__ float4 load_fresh(const float4* from) {
    float4 v;
    asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(from));
    return v;
}

__device__ __forceinline__ uint4 load_fresh(const uint4* from) {
    uint4 v;
    asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

// Adds four floats, each by itself; `to` is on 16 bytes.
__device__ __forceinline__ void add_floats(float* to, float4 v) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1,%2,%3,%4};"
                 :: "l"(to), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w) : "memory");
#else
    atomicAdd(to, v.x);
    atomicAdd(to + 1, v.y);
    atomicAdd(to + 2, v.z);
    atomicAdd(to + 3, v.w);
#endif
}

// Adds eight fp16 numbers, each by itself; `to` is on 16 bytes.
__device__ __forceinline__ void add_halves(u16* to, uint4 v) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.relaxed.gpu.global.add.noftz.v4.f16x2 [%0], {%1,%2,%3,%4};"
                 :: "l"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
#else
    asm volatile("red.relaxed.gpu.global.add.noftz.f16x2 [%0], %1;" :: "l"(to), "r"(v.x) : "memory");
    asm volatile("red.relaxed.gpu.global.add.noftz.f16x2 [%0], %1;" :: "l"(to + 2), "r"(v.y) : "memory");
    asm volatile("red.relaxed.gpu.global.add.noftz.f16x2 [%0], %1;" :: "l"(to + 4), "r"(v.z) : "memory");
    asm volatile("red.relaxed.gpu.global.add.noftz.f16x2 [%0], %1;" :: "l"(to + 6), "r"(v.w) : "memory");
#endif
}

// The value of the lane whose number differs in these bits. All 32 lanes must come here.
__device__ __forceinline__ float shuffle_xor(float value, u32 bits) {
    return __shfl_xor_sync(EVERY_LANE, value, bits);
}

// Waits for the other lanes; what they wrote to shared memory is there.
__device__ __forceinline__ void wait_for_lanes() {
    __syncwarp();
}

// Two fp16 numbers in one word, the first in the lower half.
__device__ __forceinline__ float2 floats_of_halves(u32 halves) {
    float2 v;
    asm("{ .reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }"
        : "=f"(v.x), "=f"(v.y) : "r"(halves));
    return v;
}

__device__ __forceinline__ u32 halves_of_floats(float first, float second) {
    u32 v;
    asm("{ .reg .f16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b}; }"
        : "=r"(v) : "f"(first), "f"(second));
    return v;
}

// Two bf16 numbers in one word, the first in the lower half; rounds to the nearest, ties to even.
__device__ __forceinline__ u32 brains_of_floats(float first, float second) {
    u32 v;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(second), "f"(first));
    return v;
}

// Starts to copy 16 bytes to shared memory, or 16 zeros.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool there) {
    u32 address = (u32)__cvta_generic_to_shared(to);
    u32 bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(address), "l"(from), "r"(bytes) : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until all but the last LEFT groups are there, for this thread.
template <int LEFT>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" :: "n"(LEFT) : "memory");
}

// sums += a · b, of 16 × 16 and 16 × 8 bf16 numbers spread over the 32 lanes. With g = lane / 4 and t = lane % 4, a lane
// holds (two neighbours to a word, the lower column or row first):
//   a: rows g, g+8, g, g+8, columns from 2t, 2t, 2t+8, 2t+8      b: rows from 2t, 2t+8, column g
//   sums: row g columns 2t, 2t+1; row g+8 columns 2t, 2t+1
__device__ __forceinline__ void tensor_product(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#define INFINITE __int_as_float(0x7F800000)

__device__ __forceinline__ u32 bits_of(float value) {
    return __float_as_uint(value);
}

__device__ __forceinline__ float float_of_bits(u32 bits) {
    return __uint_as_float(bits);
}

#endif

// Two bf16 numbers of a word as floats.
__device__ __forceinline__ float2 floats_of_brains(u32 brains) {
    float2 v;
    v.x = float_of_bits(brains << 16);
    v.y = float_of_bits(brains & 0xFFFF0000u);
    return v;
}

__device__ __forceinline__ float float_of_brain(u16 brain) {
    return float_of_bits((u32)brain << 16);
}

// `value`, or the bound it lies beyond; NaN stays NaN.
__device__ __forceinline__ float clamp(float value, float bound) {
    return value < -bound ? -bound : value > bound ? bound : value;
}

// The sum over all lanes, in every lane; neighbours last.
__device__ __forceinline__ float sum_of_lanes(float value) {
    for (u32 apart = 16; apart > 0; apart /= 2) {
        value = value + shuffle_xor(value, apart);
    }
    return value;
}
