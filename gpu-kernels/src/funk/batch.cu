// The gradient step in batches, with the bits of batch.rs: mathematics and order of additions are told there.
//
// A launch covers one batch of each block of a stratum; such blocks share no row. blockIdx.y is the user bin.
//
//   errors    four threads a rating: thread l keeps sums 4l … 4l+3 of the sixteen that a dot product has
//   rows      a group of LANES threads a segment, one 16-byte vector (four slots) or more each: writes the new row aside
//   store     the same groups: write the new rows where they belong
//   squares   once an epoch: 32 threads a block, thread l takes ratings l, l + 32, …
//
// Rows: STRIDE floats (a multiple of eight), users and items each bin after bin. Ratings: block after block, row-major in
// the grid, with rows counted over all bins.

#define VECTORS (STRIDE / 4)
#define CHUNKS ((VECTORS + LANES - 1) / LANES)
#define BOUND 10.0f

// The block of a user bin in a stratum.
__device__ __forceinline__ u32 block_of(const u32* columns, u32 bins, u32 stratum, u32 user_bin) {
    return user_bin * bins + columns[(user_bin + stratum) % bins];
}

extern "C" __global__ void __launch_bounds__(256) funk_batch_errors(
    const Rating* ratings, const u64* starts, const u32* columns, u32 bins, u32 stratum, u32 turn, u32 size,
    const float* users, const float* items, float mean, float* errors) {
    u32 at = (blockIdx.x * 256 + threadIdx.x) / 4, lane = threadIdx.x % 4;
    u32 block = block_of(columns, bins, stratum, blockIdx.y);
    u64 place = starts[block] + (u64)turn * size + at;
    bool there = at < size && place < starts[block + 1];
    Rating rating = {0, 0, 0.0f};
    float4 s = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (there) {
        rating = ratings[place];
        const float4* user = (const float4*)(users + (u64)rating.user * STRIDE);
        const float4* item = (const float4*)(items + (u64)rating.item * STRIDE);
        for (u32 vector = lane; vector < VECTORS; vector += 4) {
            float4 p = user[vector], q = item[vector];
            s.x = fmaf(p.x, q.x, s.x);
            s.y = fmaf(p.y, q.y, s.y);
            s.z = fmaf(p.z, q.z, s.z);
            s.w = fmaf(p.w, q.w, s.w);
        }
    }
    // Sums 8 apart, then 4 apart, then 2 and 1.
    s.x = s.x + shuffle_xor(s.x, 2);
    s.y = s.y + shuffle_xor(s.y, 2);
    s.z = s.z + shuffle_xor(s.z, 2);
    s.w = s.w + shuffle_xor(s.w, 2);
    s.x = s.x + shuffle_xor(s.x, 1);
    s.y = s.y + shuffle_xor(s.y, 1);
    s.z = s.z + shuffle_xor(s.z, 1);
    s.w = s.w + shuffle_xor(s.w, 1);
    float error = (rating.value - mean) - ((s.x + s.z) + (s.y + s.w));
#if R2
    error = clamp(error, BOUND);
#endif
    if (there && lane == 0) {
        errors[place] = error;
    }
}

// κ of a slot, and whether it moves. The constant 1 of a user lies in slot 1, that of an item in slot 0.
__device__ __forceinline__ float keep_of(u32 slot, u32 one, u32 biases, float keep) {
    return slot < 2 && (slot == one || !biases) ? 1.0f : keep;
}

__device__ __forceinline__ float move_of(u32 slot, u32 one, u32 biases) {
    return slot < 2 && (slot == one || !biases) ? 0.0f : 1.0f;
}

// One slot of the row of a segment, added up over its ratings so far.
__device__ __forceinline__ float add_rating(
    float sum, bool first, u32 slot, u32 one, u32 biases, float step, float decay, float own, float other) {
#if R2
    if (one == 0) {
        // The item follows the user's new row.
        float moved = (step * move_of(slot, 1, biases)) * own;
        other = fmaf(other, keep_of(slot, 1, biases, 1.0f - 1.0f * decay), moved);
    }
#endif
    float by = step * move_of(slot, one, biases);
    return first ? by * other : fmaf(by, other, sum);
}

__device__ __forceinline__ float new_value(float own, float keep, float sum) {
    float value = fmaf(own, keep, sum);
#if R2
    value = clamp(value, BOUND);
#endif
    return value;
}

extern "C" __global__ void __launch_bounds__(256) funk_batch_rows(
    const Rating* ratings, const float* errors, const u32* columns, u32 bins, u32 stratum, u32 turn, u32 size,
    const u32* slices, const float* users, const float* items,
    const u32* user_order, const u32* user_rows, const u32* user_starts, const u32* user_batches,
    const u32* item_order, const u32* item_rows, const u32* item_starts, const u32* item_batches,
    float rate, float decay, u32 biases, float* new_users, float* new_items) {
    u32 block = block_of(columns, bins, stratum, blockIdx.y);
    u32 slice = slices[block] + turn;
    if (slice >= slices[block + 1]) {
        return;
    }
    // Users first, then items.
    bool of_users = blockIdx.z == 0;
    u32 one = of_users ? 1 : 0;
    const u32* order = of_users ? user_order : item_order;
    const u32* starts = of_users ? user_starts : item_starts;
    const u32* batches = of_users ? user_batches : item_batches;
    const float* own_rows = of_users ? users : items;
    const float* other_rows = of_users ? items : users;

    u32 at = (blockIdx.x * 256 + threadIdx.x) / LANES, lane = threadIdx.x % LANES;
    u32 segment = batches[slice] + at;
    if (segment >= batches[slice + 1]) {
        return;
    }
    u32 begin = starts[segment], end = starts[segment + 1];
    u64 row = of_users ? user_rows[segment] : item_rows[segment];
    const float4* own = (const float4*)(own_rows + row * STRIDE);
    float4* out = (float4*)((of_users ? new_users : new_items) + ((u64)blockIdx.y * size + at) * STRIDE);
    float keep = 1.0f - (float)(end - begin) * decay;

    for (u32 chunk = 0; chunk < CHUNKS; chunk++) {
        u32 vector = chunk * LANES + lane;
        if (vector >= VECTORS) {
            break;
        }
        u32 slot = vector * 4;
        float4 old = own[vector], sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
        for (u32 place = begin; place < end; place++) {
            u32 which = order[place];
            u64 other_row = of_users ? ratings[which].item : ratings[which].user;
            float step = rate * errors[which];
            float4 other = ((const float4*)(other_rows + other_row * STRIDE))[vector];
            bool first = place == begin;
            sum.x = add_rating(sum.x, first, slot, one, biases, step, decay, old.x, other.x);
            sum.y = add_rating(sum.y, first, slot + 1, one, biases, step, decay, old.y, other.y);
            sum.z = add_rating(sum.z, first, slot + 2, one, biases, step, decay, old.z, other.z);
            sum.w = add_rating(sum.w, first, slot + 3, one, biases, step, decay, old.w, other.w);
        }
        float4 moved;
        moved.x = new_value(old.x, keep_of(slot, one, biases, keep), sum.x);
        moved.y = new_value(old.y, keep_of(slot + 1, one, biases, keep), sum.y);
        moved.z = new_value(old.z, keep_of(slot + 2, one, biases, keep), sum.z);
        moved.w = new_value(old.w, keep_of(slot + 3, one, biases, keep), sum.w);
        out[vector] = moved;
    }
}

extern "C" __global__ void __launch_bounds__(256) funk_batch_store(
    const u32* columns, u32 bins, u32 stratum, u32 turn, u32 size, const u32* slices,
    const u32* user_rows, const u32* user_batches, const u32* item_rows, const u32* item_batches,
    const float* new_users, const float* new_items, float* users, float* items) {
    u32 block = block_of(columns, bins, stratum, blockIdx.y);
    u32 slice = slices[block] + turn;
    if (slice >= slices[block + 1]) {
        return;
    }
    bool of_users = blockIdx.z == 0;
    const u32* batches = of_users ? user_batches : item_batches;
    u32 at = (blockIdx.x * 256 + threadIdx.x) / LANES, lane = threadIdx.x % LANES;
    u32 segment = batches[slice] + at;
    if (segment >= batches[slice + 1]) {
        return;
    }
    u64 row = of_users ? user_rows[segment] : item_rows[segment];
    const float4* from = (const float4*)((of_users ? new_users : new_items) + ((u64)blockIdx.y * size + at) * STRIDE);
    float4* to = (float4*)((of_users ? users : items) + row * STRIDE);
    for (u32 vector = lane; vector < VECTORS; vector += LANES) {
        to[vector] = from[vector];
    }
}

extern "C" __global__ void __launch_bounds__(256) funk_batch_squares(
    const float* errors, const u64* starts, u32 blocks, double* squares) {
    __shared__ double sums[256];
    u32 block = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    double sum = 0.0;
    if (block < blocks) {
        for (u64 place = starts[block] + lane; place < starts[block + 1]; place += 32) {
            double error = errors[place];
            sum = sum + error * error;
        }
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (block < blocks && lane == 0) {
        double total = 0.0;
        for (u32 other = 0; other < 32; other++) {
            total = total + sums[threadIdx.x + other];
        }
        squares[block] = total;
    }
}
