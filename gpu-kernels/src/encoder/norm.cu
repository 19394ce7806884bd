// Embedding and the two places where a row is normalised. One warp a token; a lane has every 32nd pair of the HIDDEN
// numbers, in f32. Rows of activations are HIDDEN bf16 numbers, two to a word.
//
//   mean = Σ x / H      variance = Σ (x − mean)² / H      y = (x − mean) / √(variance + ε) · gain + shift
//
// Sums over lanes have a fixed order, so a token's bits do not depend on its neighbours.
//
// Source: J. Ba, J. Kiros, G. Hinton, "Layer normalization" (2016); J. Devlin et al., "BERT" (2018).

#define PAIRS (HIDDEN / 64)

__device__ __forceinline__ void write_normal(
    float2 (&x)[PAIRS], u32 lane, const float* gain, const float* shift, float epsilon, u32* out) {
    float sum = 0.0f;
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        sum = sum + (x[n].x + x[n].y);
    }
    float mean = sum_of_lanes(sum) / (float)HIDDEN;
    float squares = 0.0f;
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        x[n].x = x[n].x - mean;
        x[n].y = x[n].y - mean;
        squares = fmaf(x[n].x, x[n].x, fmaf(x[n].y, x[n].y, squares));
    }
    float scale = 1.0f / sqrtf(sum_of_lanes(squares) / (float)HIDDEN + epsilon);
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        u32 pair = lane + 32 * n;
        float first = fmaf(x[n].x * scale, gain[2 * pair], shift[2 * pair]);
        float second = fmaf(x[n].y * scale, gain[2 * pair + 1], shift[2 * pair + 1]);
        out[pair] = brains_of_floats(first, second);
    }
}

// out = norm(word + place), where `places` holds the embeddings of positions with that of the one token type added.
extern "C" __global__ void __launch_bounds__(256) encoder_embed(
    const u32* ids, const u32* positions, u32 tokens, const u32* words, const float* places,
    const float* gain, const float* shift, float epsilon, u32* out) {
    u32 token = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (token >= tokens) {
        return;
    }
    const u32* word = words + (u64)ids[token] * (HIDDEN / 2);
    const float2* place = (const float2*)(places + (u64)positions[token] * HIDDEN);
    float2 x[PAIRS];
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        float2 first = floats_of_brains(word[lane + 32 * n]), second = place[lane + 32 * n];
        x[n].x = first.x + second.x;
        x[n].y = first.y + second.y;
    }
    write_normal(x, lane, gain, shift, epsilon, out + (u64)token * (HIDDEN / 2));
}

// out = norm(rows + before); `out` may be `before`.
extern "C" __global__ void __launch_bounds__(256) encoder_add_norm(
    const u32* rows, const u32* before, u32 tokens, const float* gain, const float* shift, float epsilon, u32* out) {
    u32 token = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (token >= tokens) {
        return;
    }
    u64 start = (u64)token * (HIDDEN / 2);
    float2 x[PAIRS];
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        float2 first = floats_of_brains(rows[start + lane + 32 * n]), second = floats_of_brains(before[start + lane + 32 * n]);
        x[n].x = first.x + second.x;
        x[n].y = first.y + second.y;
    }
    write_normal(x, lane, gain, shift, epsilon, out + start);
}

// out = the mean of a sequence's tokens, scaled to length 1: HIDDEN floats for each sequence. One warp a sequence; tokens
// are added in their order.
extern "C" __global__ void __launch_bounds__(32) encoder_pool(const u32* rows, const u32* offsets, float* out) {
    u32 sequence = blockIdx.x, lane = threadIdx.x;
    u32 begin = offsets[sequence], end = offsets[sequence + 1];
    float2 x[PAIRS];
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        x[n].x = 0.0f;
        x[n].y = 0.0f;
    }
    for (u32 token = begin; token < end; token++) {
#pragma unroll
        for (u32 n = 0; n < PAIRS; n++) {
            float2 value = floats_of_brains(rows[(u64)token * (HIDDEN / 2) + lane + 32 * n]);
            x[n].x = x[n].x + value.x;
            x[n].y = x[n].y + value.y;
        }
    }
    float count = (float)(end - begin), squares = 0.0f;
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        x[n].x = x[n].x / count;
        x[n].y = x[n].y / count;
        squares = fmaf(x[n].x, x[n].x, fmaf(x[n].y, x[n].y, squares));
    }
    float length = sqrtf(sum_of_lanes(squares));
    // The same floor as elsewhere: a zero vector stays zero.
    float scale = 1.0f / (length > 1e-12f ? length : length != length ? length : 1e-12f);
    float2* to = (float2*)(out + (u64)sequence * HIDDEN);
#pragma unroll
    for (u32 n = 0; n < PAIRS; n++) {
        float2 value;
        value.x = x[n].x * scale;
        value.y = x[n].y * scale;
        to[lane + 32 * n] = value;
    }
}
