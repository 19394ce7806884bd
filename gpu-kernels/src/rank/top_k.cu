// The items with the highest scores for each user, over all items, as top_k.rs defines it: of equal scores the lower id,
// never an item that is left out or whose score is NaN.
//
//   key(item) = order-preserving bits of the score, then the bits of the item upside down: all keys differ, larger is better
//
// A block has USERS users and goes through all items, 256 at a time, one for each thread. A key above a user's bar (the
// k-th best so far) goes to the user's CAPACITY places; when 256 more might not fit, the places are sorted, the best k
// stay, and the last of them is the new bar. What is best does not depend on the order in which keys arrive.
//
// Scores have the bits of the CPU's: a thread keeps all sixteen sums of the dot product (see simd/mod.rs).
//
// Sorting: bitonic, K. Batcher, "Sorting networks and their applications" (1968).

#define BLOCK 256

// Bits that compare as unsigned numbers like the floats do; −0 is 0. NaN, which is no score, gives 0.
__device__ __forceinline__ u32 order_of(float score) {
    if (score != score) {
        return 0;
    }
    u32 bits = bits_of(score == 0.0f ? 0.0f : score);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Sorts CAPACITY keys, the largest first. All threads of the block come here.
__device__ void sort_keys(u64* keys) {
    for (u32 size = 2; size <= CAPACITY; size *= 2) {
        for (u32 apart = size / 2; apart > 0; apart /= 2) {
            for (u32 at = threadIdx.x; at < CAPACITY / 2; at += BLOCK) {
                u32 low = at / apart * apart * 2 + at % apart, high = low + apart;
                bool descending = (low & size) == 0;
                u64 first = keys[low], second = keys[high];
                if (descending ? first < second : first > second) {
                    keys[low] = second;
                    keys[high] = first;
                }
            }
            __syncthreads();
        }
    }
}

// Keeps the best k keys of a user. All threads of the block come here.
__device__ void keep_best(u64* keys, u32* count, u64* bar, u32 k) {
    u32 used = *count;
    for (u32 at = used + threadIdx.x; at < CAPACITY; at += BLOCK) {
        keys[at] = 0;
    }
    __syncthreads();
    sort_keys(keys);
    if (threadIdx.x == 0) {
        *count = used < k ? used : k;
        *bar = used < k ? 0 : keys[k - 1];
    }
    __syncthreads();
}

__device__ bool is_left_out(const u64* starts, const u32* columns, u32 user, u32 item) {
    u64 low = starts[user], high = starts[user + 1];
    while (low < high) {
        u64 middle = low + (high - low) / 2;
        u32 column = columns[middle];
        if (column == item) {
            return true;
        }
        if (column < item) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

// Scores one item for USERS users; rows are `stride` floats, a multiple of eight. Users beyond the last take its row.
__device__ __forceinline__ void scores_of(
    const float* users, u32 first, u32 user_count, const float* item, u32 stride, float (&scores)[USERS]) {
    float sums[USERS][16];
#pragma unroll
    for (u32 u = 0; u < USERS; u++) {
#pragma unroll
        for (u32 n = 0; n < 16; n++) {
            sums[u][n] = 0.0f;
        }
    }
    u32 whole = stride / 16 * 16;
    for (u32 at = 0; at < whole; at += 16) {
        float4 q[4];
#pragma unroll
        for (u32 v = 0; v < 4; v++) {
            q[v] = ((const float4*)(item + at))[v];
        }
#pragma unroll
        for (u32 u = 0; u < USERS; u++) {
            u32 user = first + u < user_count ? first + u : user_count - 1;
            const float4* row = (const float4*)(users + (u64)user * stride + at);
#pragma unroll
            for (u32 v = 0; v < 4; v++) {
                float4 p = row[v];
                sums[u][4 * v] = fmaf(p.x, q[v].x, sums[u][4 * v]);
                sums[u][4 * v + 1] = fmaf(p.y, q[v].y, sums[u][4 * v + 1]);
                sums[u][4 * v + 2] = fmaf(p.z, q[v].z, sums[u][4 * v + 2]);
                sums[u][4 * v + 3] = fmaf(p.w, q[v].w, sums[u][4 * v + 3]);
            }
        }
    }
    if (whole < stride) {
#pragma unroll
        for (u32 u = 0; u < USERS; u++) {
            u32 user = first + u < user_count ? first + u : user_count - 1;
            const float4* row = (const float4*)(users + (u64)user * stride + whole);
#pragma unroll
            for (u32 v = 0; v < 2; v++) {
                float4 p = row[v], q = ((const float4*)(item + whole))[v];
                sums[u][4 * v] = fmaf(p.x, q.x, sums[u][4 * v]);
                sums[u][4 * v + 1] = fmaf(p.y, q.y, sums[u][4 * v + 1]);
                sums[u][4 * v + 2] = fmaf(p.z, q.z, sums[u][4 * v + 2]);
                sums[u][4 * v + 3] = fmaf(p.w, q.w, sums[u][4 * v + 3]);
            }
        }
    }
#pragma unroll
    for (u32 u = 0; u < USERS; u++) {
        float t[8];
#pragma unroll
        for (u32 n = 0; n < 8; n++) {
            t[n] = sums[u][n] + sums[u][n + 8];
        }
        scores[u] = ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) top_k(
    const float* users, u32 user_count, const float* items, u32 item_count, u32 stride,
    const u64* left_out_starts, const u32* left_out_columns, u32 k, u64* best) {
    SHARED_BYTES(memory);
    u64* keys = (u64*)memory;
    __shared__ u32 counts[USERS];
    __shared__ u64 bars[USERS];
    u32 first = blockIdx.x * USERS;
    if (threadIdx.x < USERS) {
        counts[threadIdx.x] = 0;
        bars[threadIdx.x] = 0;
    }
    __syncthreads();
    for (u32 tile = 0; tile < item_count; tile += BLOCK) {
        u32 item = tile + threadIdx.x;
        if (item < item_count) {
            float scores[USERS];
            scores_of(users, first, user_count, items + (u64)item * stride, stride, scores);
#pragma unroll
            for (u32 u = 0; u < USERS; u++) {
                u64 key = (u64)order_of(scores[u]) << 32 | (0xFFFFFFFFu - item);
                bool asked = first + u < user_count && order_of(scores[u]) != 0;
                if (asked && key > bars[u] && !is_left_out(left_out_starts, left_out_columns, first + u, item)) {
                    keys[u * CAPACITY + atomicAdd(&counts[u], 1u)] = key;
                }
            }
        }
        __syncthreads();
        for (u32 u = 0; u < USERS; u++) {
            // The same for all threads: nobody adds before they all have been here.
            if (counts[u] + BLOCK > CAPACITY) {
                keep_best(keys + u * CAPACITY, &counts[u], &bars[u], k);
            }
        }
        __syncthreads();
    }
    for (u32 u = 0; u < USERS; u++) {
        keep_best(keys + u * CAPACITY, &counts[u], &bars[u], k);
        if (first + u < user_count) {
            for (u32 at = threadIdx.x; at < k; at += BLOCK) {
                best[(u64)(first + u) * k + at] = keys[u * CAPACITY + at];
            }
        }
    }
}
