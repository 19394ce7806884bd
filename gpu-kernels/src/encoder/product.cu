// out = a · wᵀ + bias, or its erf-GELU: bf16 numbers, sums in f32 by tensor products.
//
//   a: `rows` × `depth`, row-major      w: `width` × `depth`, row-major (as trained: a row for each output)
//   out: `rows` × `width`               depth a multiple of 32, width a multiple of 8
//
// A block computes 128 × 128 outputs with 8 warps, 2 × 4, of 64 × 32 outputs: 4 × 4 tensor products of 16 × 8. Of both
// sides 32 columns at a time come to shared memory, STAGES - 1 steps ahead. There a row has 40 numbers: the words that a
// warp reads at once (8 rows 20 words apart, 4 neighbours each) then lie in 32 different banks.
//
// Which lane has what of a tensor product: see prelude.cuh. Outputs are the same whatever the other rows are.
//
// Source: multistage tiles with asynchronous copies as in NVIDIA's CUTLASS; GELU: D. Hendrycks, K. Gimpel (2016).

#define TILE 128
#define DEPTH 32
#define PITCH 40
#define STAGES 3
// Numbers of a stage: a tile of either side.
#define STAGE (2 * TILE * PITCH)

// Starts to copy `DEPTH` columns of TILE rows; rows that are not there become zeros.
__device__ __forceinline__ void copy_tile(u16* to, const u16* from, u32 first, u32 count, u32 depth, u32 column) {
#pragma unroll
    for (u32 turn = 0; turn < TILE * DEPTH / 8 / 256; turn++) {
        u32 at = turn * 256 + threadIdx.x, r = at / (DEPTH / 8), c = at % (DEPTH / 8) * 8;
        bool there = first + r < count;
        u64 row = there ? first + r : 0;
        copy_async(to + r * PITCH + c, from + row * depth + column + c, there);
    }
}

__device__ __forceinline__ u32 word_at(const u16* tile, u32 row, u32 column) {
    return *(const u32*)(tile + row * PITCH + column);
}

__device__ __forceinline__ float finish(float sum, float bias) {
    float x = sum + bias;
#if GELU
    x = 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
#endif
    return x;
}

extern "C" __global__ void __launch_bounds__(256) encoder_product(
    const u16* a, const u16* w, const float* bias, u32 rows, u32 width, u32 depth, u16* out) {
    SHARED_BYTES(memory);
    u16* tiles = (u16*)memory;
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    u32 g = lane / 4, t = lane % 4;
    u32 first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    u32 warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
    u32 steps = depth / DEPTH;
    float sums[4][4][4];
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
#pragma unroll
            for (u32 n = 0; n < 4; n++) {
                sums[i][j][n] = 0.0f;
            }
        }
    }
    // Every step ends a group, also an empty one, so that the number of groups tells which step is there.
#pragma unroll
    for (u32 step = 0; step < STAGES - 1; step++) {
        if (step < steps) {
            copy_tile(tiles + step * STAGE, a, first_row, rows, depth, step * DEPTH);
            copy_tile(tiles + step * STAGE + TILE * PITCH, w, first_column, width, depth, step * DEPTH);
        }
        copy_commit();
    }
    for (u32 step = 0; step < steps; step++) {
        copy_wait<STAGES - 2>();
        // This step is there for all threads, and all are done with the one before, whose place is filled next.
        __syncthreads();
        u32 next = step + STAGES - 1;
        if (next < steps) {
            u16* to = tiles + next % STAGES * STAGE;
            copy_tile(to, a, first_row, rows, depth, next * DEPTH);
            copy_tile(to + TILE * PITCH, w, first_column, width, depth, next * DEPTH);
        }
        copy_commit();
        const u16* left = tiles + step % STAGES * STAGE;
        const u16* right = left + TILE * PITCH;
#pragma unroll
        for (u32 k = 0; k < DEPTH; k += 16) {
            u32 of_a[4][4], of_w[4][2];
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                u32 r = warp_row + i * 16 + g, c = k + 2 * t;
                of_a[i][0] = word_at(left, r, c);
                of_a[i][1] = word_at(left, r + 8, c);
                of_a[i][2] = word_at(left, r, c + 8);
                of_a[i][3] = word_at(left, r + 8, c + 8);
            }
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                u32 r = warp_column + j * 8 + g, c = k + 2 * t;
                of_w[j][0] = word_at(right, r, c);
                of_w[j][1] = word_at(right, r, c + 8);
            }
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
#pragma unroll
                for (u32 j = 0; j < 4; j++) {
                    tensor_product(sums[i][j], of_a[i], of_w[j]);
                }
            }
        }
    }
#pragma unroll
    for (u32 j = 0; j < 4; j++) {
        u32 column = first_column + warp_column + j * 8 + 2 * t;
        if (column < width) {
            float first = bias[column], second = bias[column + 1];
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                u32 row = first_row + warp_row + i * 16 + g;
                if (row < rows) {
                    *(u32*)(out + (u64)row * width + column) =
                        brains_of_floats(finish(sums[i][j][0], first), finish(sums[i][j][1], second));
                }
                if (row + 8 < rows) {
                    *(u32*)(out + (u64)(row + 8) * width + column) =
                        brains_of_floats(finish(sums[i][j][2], first), finish(sums[i][j][3], second));
                }
            }
        }
    }
}
