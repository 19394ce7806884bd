// The gradient step of update.rs for many ratings at a time: rows are read, and what an update adds to them is added
// atomically, so that none is lost. Two updates of a row that are in flight together both start from the old row; the
// number in flight is capped so that this costs no accuracy (see in_flight in cuda/fast.rs). Not the same bits each time.
//
//   e = r − μ − user · item
//   surprise   user += γe·item − γλ·user              item += γe·user − γλ·item
//   r2         e kept within ±10; user′ = user + that; item += γe·user′ − γλ·item; both kept within ±10 at that moment
//
// One group of LANES threads an update, one 16-byte vector of both rows or more for each. A launch covers a stratum: its
// bins² / bins blocks share no row. Groups are dealt to blocks in turn, so that the ratings in flight are spread over all
// rows as evenly as in the whole; a group takes RUN ratings that lie together at a time.
//
// Rows: STRIDE floats, or with HALF as many fp16 numbers (arithmetic is in f32; the additions round to fp16).
// Ratings: block after block, row-major in the grid, with rows counted over all bins.
//
// Source: S. Funk (2006) for the step; capping what is in flight instead of losing updates as in X. Xie et al., "CuMF_SGD",
// HPDC 2017.

#define WIDTH (HALF ? 8 : 4)
#define VECTORS (STRIDE / WIDTH)
#define CHUNKS ((VECTORS + LANES - 1) / LANES)
#define RUN 8
#define BOUND 10.0f
// Places that blocks add their squared errors to, so that they do not all wait for one.
#define PLACES 64

// A vector's numbers as floats.
struct Numbers {
    float at[WIDTH];
};

#if HALF
typedef u16 Number;
typedef uint4 Vector;

__device__ __forceinline__ Numbers numbers_of(uint4 v) {
    float2 a = floats_of_halves(v.x), b = floats_of_halves(v.y), c = floats_of_halves(v.z), d = floats_of_halves(v.w);
    return {{a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y}};
}

__device__ __forceinline__ void add_numbers(u16* to, const Numbers& v) {
    add_halves(to, make_uint4(halves_of_floats(v.at[0], v.at[1]), halves_of_floats(v.at[2], v.at[3]),
                              halves_of_floats(v.at[4], v.at[5]), halves_of_floats(v.at[6], v.at[7])));
}
#else
typedef float Number;
typedef float4 Vector;

__device__ __forceinline__ Numbers numbers_of(float4 v) {
    return {{v.x, v.y, v.z, v.w}};
}

__device__ __forceinline__ void add_numbers(float* to, const Numbers& v) {
    add_floats(to, make_float4(v.at[0], v.at[1], v.at[2], v.at[3]));
}
#endif

// What an update adds to a vector of both rows. Slot 1 of a user and slot 0 of an item are the constant 1.
__device__ __forceinline__ void deltas(
    u32 vector, u32 biases, float step, float decay, const Numbers& p, const Numbers& q, Numbers& dp, Numbers& dq) {
#pragma unroll
    for (u32 n = 0; n < WIDTH; n++) {
        u32 slot = vector * WIDTH + n;
        bool user_stays = slot < 2 && (slot == 1 || !biases), item_stays = slot < 2 && (slot == 0 || !biases);
        float add = user_stays ? 0.0f : fmaf(step, q.at[n], -decay * p.at[n]);
#if R2
        float moved = p.at[n] + add;
        dp.at[n] = clamp(moved, BOUND) - p.at[n];
        float to = q.at[n] + fmaf(step, moved, -decay * q.at[n]);
        dq.at[n] = item_stays ? 0.0f : clamp(to, BOUND) - q.at[n];
#else
        dp.at[n] = add;
        dq.at[n] = item_stays ? 0.0f : fmaf(step, p.at[n], -decay * q.at[n]);
#endif
    }
}

// The rating of a group's turn: `number` is the group's among those on the block. False past the end.
__device__ __forceinline__ bool rating_at(
    const Rating* ratings, u64 begin, u64 end, u32 number, u32 side_by_side, u32 turn, Rating* rating) {
    u64 place = begin + ((u64)(turn / RUN) * side_by_side + number) * RUN + turn % RUN;
    if (place >= end) {
        return false;
    }
    *rating = ratings[place];
    return true;
}

extern "C" __global__ void __launch_bounds__(256) funk_update(
    const Rating* ratings, const u64* starts, const u32* columns, u32 bins, u32 stratum, u32 groups, u32 rounds,
    Number* users, Number* items, float mean, float rate, float decay, u32 biases, double* squares) {
    __shared__ double sums[256];
    u32 group = (blockIdx.x * 256 + threadIdx.x) / LANES, lane = threadIdx.x % LANES;
    // Blocks worked on at a time, and groups on each.
    u32 at_once = groups < bins ? groups : bins, side_by_side = groups / at_once;
    double sum = 0.0;
    // Every group makes the same number of turns, so that the lanes of a warp stay together.
    for (u32 first = 0; first < bins; first += at_once) {
        u32 user_bin = first + group % at_once;
        u64 begin = 0, end = 0;
        if (group < groups && user_bin < bins) {
            u32 block = user_bin * bins + columns[(user_bin + stratum) % bins];
            begin = starts[block];
            end = starts[block + 1];
        }
        // The next rating is read while this one's rows are on their way.
        Rating next = {0, 0, 0.0f};
        bool next_there = rating_at(ratings, begin, end, group / at_once, side_by_side, 0, &next);
        for (u32 turn = 0; turn < rounds * RUN; turn++) {
            Rating rating = next;
            bool there = next_there;
            next_there = rating_at(ratings, begin, end, group / at_once, side_by_side, turn + 1, &next);
            Number* user = users + (u64)rating.user * STRIDE;
            Number* item = items + (u64)rating.item * STRIDE;
            Numbers p[CHUNKS], q[CHUNKS];
            float dot = 0.0f;
#pragma unroll
            for (u32 chunk = 0; chunk < CHUNKS; chunk++) {
                u32 vector = chunk * LANES + lane;
                p[chunk] = Numbers{};
                q[chunk] = Numbers{};
                if (there && vector < VECTORS) {
                    p[chunk] = numbers_of(load_fresh((const Vector*)user + vector));
                    q[chunk] = numbers_of(load_fresh((const Vector*)item + vector));
                }
            }
#pragma unroll
            for (u32 chunk = 0; chunk < CHUNKS; chunk++) {
#pragma unroll
                for (u32 n = 0; n < WIDTH; n++) {
                    dot = fmaf(p[chunk].at[n], q[chunk].at[n], dot);
                }
            }
#pragma unroll
            for (u32 apart = LANES / 2; apart > 0; apart /= 2) {
                dot = dot + shuffle_xor(dot, apart);
            }
            if (!there) {
                continue;
            }
            float error = rating.value - mean - dot;
#if R2
            error = clamp(error, BOUND);
#endif
            if (lane == 0) {
                sum += (double)error * (double)error;
            }
            float step = rate * error;
#pragma unroll
            for (u32 chunk = 0; chunk < CHUNKS; chunk++) {
                u32 vector = chunk * LANES + lane;
                if (vector < VECTORS) {
                    Numbers dp, dq;
                    deltas(vector, biases, step, decay, p[chunk], q[chunk], dp, dq);
                    add_numbers(user + vector * WIDTH, dp);
                    add_numbers(item + vector * WIDTH, dq);
                }
            }
        }
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (u32 apart = 128; apart > 0; apart /= 2) {
        if (threadIdx.x < apart) {
            sums[threadIdx.x] += sums[threadIdx.x + apart];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        atomicAdd(&squares[blockIdx.x % PLACES], sums[0]);
    }
}

#if HALF
// Rows of `from` floats become rows of STRIDE fp16 numbers, and back. One thread a pair of numbers.
extern "C" __global__ void rows_to_halves(const float* rows, u64 count, u32 from, u32* halves) {
    u64 pair = (u64)blockIdx.x * 256 + threadIdx.x;
    u64 row = pair / (STRIDE / 2);
    u32 slot = (u32)(pair % (STRIDE / 2)) * 2;
    if (row < count) {
        bool there = slot < from;
        float first = there ? rows[row * from + slot] : 0.0f, second = there ? rows[row * from + slot + 1] : 0.0f;
        halves[pair] = halves_of_floats(first, second);
    }
}

extern "C" __global__ void rows_of_halves(const u32* halves, u64 count, u32 to, float* rows) {
    u64 pair = (u64)blockIdx.x * 256 + threadIdx.x;
    u64 row = pair / (STRIDE / 2);
    u32 slot = (u32)(pair % (STRIDE / 2)) * 2;
    if (row < count && slot < to) {
        float2 v = floats_of_halves(halves[pair]);
        rows[row * to + slot] = v.x;
        rows[row * to + slot + 1] = v.y;
    }
}
#endif
