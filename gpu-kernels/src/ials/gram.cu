// The Gram matrix of gram.rs, with its bits: rows are summed in chunks of 512 in f32, one product after another, and the
// chunks in f64, in order. Only the lower triangle is computed.
//
//   chunks   blockIdx.x: a tile of 32 × 32 entries of the lower triangle; blockIdx.y: a chunk. Each of 256 threads has
//            2 × 2 entries; 32 rows at a time lie in shared memory
//   sum      one thread an entry: adds the chunks to what earlier launches left in `total`
//   round    one thread an entry

#define CHUNK 512
#define TILE 32

// Row and column of a tile of the lower triangle.
__device__ __forceinline__ void tile_of(u32 number, u32* row, u32* column) {
    u32 r = 0;
    while ((r + 1) * (r + 2) / 2 <= number) {
        r++;
    }
    *row = r;
    *column = number - r * (r + 1) / 2;
}

// `rows` has `count` rows of `stride` floats; `parts` a square of stride² floats for each chunk from `first` on.
extern "C" __global__ void __launch_bounds__(256) gram_chunks(
    const float* rows, u64 count, u32 stride, u32 first, float* parts) {
    __shared__ float left[TILE][TILE + 1];
    __shared__ float right[TILE][TILE + 1];
    u32 tile_row, tile_column;
    tile_of(blockIdx.x, &tile_row, &tile_column);
    u32 x = threadIdx.x % 16 * 2, y = threadIdx.x / 16 * 2;
    u64 begin = (u64)(first + blockIdx.y) * CHUNK;
    u64 end = begin + CHUNK < count ? begin + CHUNK : count;
    float sums[2][2] = {{0.0f, 0.0f}, {0.0f, 0.0f}};
    for (u64 panel = begin; panel < end; panel += TILE) {
        for (u32 at = threadIdx.x; at < TILE * TILE; at += 256) {
            u32 r = at / TILE, c = at % TILE;
            u32 left_column = tile_row * TILE + c, right_column = tile_column * TILE + c;
            bool there = panel + r < end;
            left[r][c] = there && left_column < stride ? rows[(panel + r) * stride + left_column] : 0.0f;
            right[r][c] = there && right_column < stride ? rows[(panel + r) * stride + right_column] : 0.0f;
        }
        __syncthreads();
        u32 here = end - panel < TILE ? (u32)(end - panel) : TILE;
        for (u32 r = 0; r < here; r++) {
            for (u32 i = 0; i < 2; i++) {
                for (u32 j = 0; j < 2; j++) {
                    sums[i][j] = fmaf(left[r][y + i], right[r][x + j], sums[i][j]);
                }
            }
        }
        __syncthreads();
    }
    float* part = parts + (u64)blockIdx.y * stride * stride;
    for (u32 i = 0; i < 2; i++) {
        for (u32 j = 0; j < 2; j++) {
            u32 r = tile_row * TILE + y + i, c = tile_column * TILE + x + j;
            if (r < stride && c <= r) {
                part[r * stride + c] = sums[i][j];
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) gram_sum(const float* parts, u32 chunks, u32 stride, double* total) {
    u32 at = blockIdx.x * 256 + threadIdx.x, size = stride * stride;
    if (at >= size || at % stride > at / stride) {
        return;
    }
    double sum = total[at];
    for (u32 chunk = 0; chunk < chunks; chunk++) {
        sum = sum + (double)parts[(u64)chunk * size + at];
    }
    total[at] = sum;
}

extern "C" __global__ void __launch_bounds__(256) gram_round(const double* total, u32 stride, float* gram) {
    u32 at = blockIdx.x * 256 + threadIdx.x;
    if (at < stride * stride) {
        gram[at] = at % stride > at / stride ? 0.0f : (float)total[at];
    }
}
