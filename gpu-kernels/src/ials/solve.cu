// One row of weighted least squares for each block of threads, with the bits of solve.rs and cholesky.rs:
//
//   (G + λI + Σ w yᵢ yᵢᵀ) x = Σ (yᵢ + w yᵢ),   w = α sᵢ, sums in the order of entries
//
// Shared memory: the lower triangle (entry (r, c) at r(r+1)/2 + c), right side, sums, and a panel of 16 rows as they are
// and times their weights.
//
//   matrix     threads deal out its entries (16 columns apart, 8 rows apart); the panel is added one row after another
//   factor     column by column: one thread has the pivot, each of the others a row below it
//   solve      forwards column by column: S += L·z, z = (b − S)/L; backwards row by row from below
//
// Source: Cholesky-Crout, G. Golub, C. Van Loan, "Matrix computations", section 4.2.

#define BLOCK 128
#define PANEL 16

__device__ __forceinline__ u32 entry(u32 row, u32 column) {
    return row * (row + 1) / 2 + column;
}

// Solves for the row blockIdx.x + first. Rows without entries become zero. `singular` gets the least row without a
// solution.
extern "C" __global__ void __launch_bounds__(BLOCK) ials_solve(
    const float* others, const float* gram, const u64* starts, const u32* columns, const float* strengths,
    u32 factors, u32 stride, float alpha, float regularization, u32 first, float* rows, u32* singular) {
    SHARED_BYTES(memory);
    float* matrix = (float*)memory;
    float* right = matrix + entry(factors, 0);
    float* sums = right + factors;
    float* panel = sums + factors;
    float* weighted = panel + PANEL * factors;
    __shared__ float inverse;

    u32 number = first + blockIdx.x, thread = threadIdx.x;
    float* out = rows + (u64)number * stride;
    u64 begin = starts[number], end = starts[number + 1];
    if (begin == end) {
        for (u32 at = thread; at < stride; at += BLOCK) {
            out[at] = 0.0f;
        }
        return;
    }

    for (u32 r = thread / 16; r < factors; r += BLOCK / 16) {
        for (u32 c = thread % 16; c <= r; c += 16) {
            matrix[entry(r, c)] = gram[r * stride + c];
        }
    }
    for (u32 at = thread; at < factors; at += BLOCK) {
        right[at] = 0.0f;
        sums[at] = 0.0f;
    }
    for (u64 from = begin; from < end; from += PANEL) {
        u32 here = end - from < PANEL ? (u32)(end - from) : PANEL;
        __syncthreads();
        for (u32 at = thread; at < here * factors; at += BLOCK) {
            u32 r = at / factors, c = at % factors;
            float value = others[(u64)columns[from + r] * stride + c];
            panel[at] = value;
            weighted[at] = (alpha * strengths[from + r]) * value;
        }
        __syncthreads();
        for (u32 at = thread; at < factors; at += BLOCK) {
            float sum = right[at];
            for (u32 p = 0; p < here; p++) {
                sum = sum + (panel[p * factors + at] + weighted[p * factors + at]);
            }
            right[at] = sum;
        }
        for (u32 r = thread / 16; r < factors; r += BLOCK / 16) {
            for (u32 c = thread % 16; c <= r; c += 16) {
                float sum = matrix[entry(r, c)];
                for (u32 p = 0; p < here; p++) {
                    sum = fmaf(weighted[p * factors + r], panel[p * factors + c], sum);
                }
                matrix[entry(r, c)] = sum;
            }
        }
    }
    __syncthreads();
    for (u32 at = thread; at < factors; at += BLOCK) {
        matrix[entry(at, at)] = matrix[entry(at, at)] + regularization;
    }
    __syncthreads();

    for (u32 j = 0; j < factors; j++) {
        const float* pivot_row = matrix + entry(j, 0);
        if (thread == 0) {
            float sum = 0.0f;
            for (u32 p = 0; p < j; p++) {
                sum = fmaf(pivot_row[p], pivot_row[p], sum);
            }
            float pivot = pivot_row[j] - sum;
            if (!(pivot > 0.0f && pivot < INFINITE)) {
                atomicMin(singular, number);
            }
            inverse = 1.0f / sqrtf(pivot);
        }
        __syncthreads();
        float by = inverse;
        for (u32 i = j + 1 + thread; i < factors; i += BLOCK) {
            float* row = matrix + entry(i, 0);
            float sum = 0.0f;
            for (u32 p = 0; p < j; p++) {
                sum = fmaf(row[p], pivot_row[p], sum);
            }
            row[j] = (row[j] - sum) * by;
        }
        if (thread == 0) {
            matrix[entry(j, j)] = by;
        }
        __syncthreads();
    }

    for (u32 p = 0; p < factors; p++) {
        if (thread == 0) {
            right[p] = (right[p] - sums[p]) * matrix[entry(p, p)];
        }
        __syncthreads();
        float z = right[p];
        for (u32 i = p + 1 + thread; i < factors; i += BLOCK) {
            sums[i] = fmaf(matrix[entry(i, p)], z, sums[i]);
        }
        __syncthreads();
    }
    for (u32 left = factors; left > 0; left--) {
        u32 i = left - 1;
        if (thread == 0) {
            right[i] = right[i] * matrix[entry(i, i)];
        }
        __syncthreads();
        float minus = 0.0f - right[i];
        for (u32 p = thread; p < i; p += BLOCK) {
            right[p] = fmaf(matrix[entry(i, p)], minus, right[p]);
        }
        __syncthreads();
    }
    for (u32 at = thread; at < stride; at += BLOCK) {
        out[at] = at < factors ? right[at] : 0.0f;
    }
}
