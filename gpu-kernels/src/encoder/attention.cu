// Attention of one head over one sequence: out = softmax(q kᵀ / √HEAD) v, for packed sequences of up to 512 tokens.
//
//   qkv: for each token the queries of all heads, then keys, then values: 3 · heads · HEAD bf16 numbers
//   out: for each token heads · HEAD bf16 numbers
//
// blockIdx.x is the head, blockIdx.y the sequence. Keys come to shared memory as rows of HEAD + 8 numbers, values turned
// (a row for each of the HEAD places, `padded` + 8 numbers), so that both are read as words without two lanes in a bank;
// `padded` is the sequence's length rounded up to 16, and what lies beyond the length is zero. A warp takes 16 queries at
// a time past all keys, 16 at a time: scores by tensor products, then the weights (bf16) times the values. Row maxima
// and sums are kept as they grow, and what was summed is scaled when a maximum rises. A lane has two rows: g = lane / 4
// and g + 8. Sums are in f32; a sequence's bits do not depend on its neighbours.
//
// Source: online softmax: M. Milakov, N. Gimelshein (2018); in tiles: T. Dao et al., "FlashAttention" (2022).

#define WARPS 4
#define KEY_PITCH (HEAD + 8)

// The largest of the four lanes that share a row.
__device__ __forceinline__ float max_of_row(float value) {
    value = fmaxf(value, shuffle_xor(value, 1));
    return fmaxf(value, shuffle_xor(value, 2));
}

__device__ __forceinline__ float sum_of_row(float value) {
    value = value + shuffle_xor(value, 1);
    return value + shuffle_xor(value, 2);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32) encoder_attention(
    const u16* qkv, const u32* offsets, u32 heads, float scale, u16* out) {
    SHARED_BYTES(memory);
    u32 head = blockIdx.x, begin = offsets[blockIdx.y], length = offsets[blockIdx.y + 1] - begin;
    u32 padded = (length + 15) / 16 * 16, value_pitch = padded + 8;
    u16* keys = (u16*)memory;
    u16* values = keys + padded * KEY_PITCH;
    u32 wide = 3 * heads * HEAD, hidden = heads * HEAD;
    const u16* first = qkv + (u64)begin * wide + head * HEAD;
    for (u32 at = threadIdx.x; at < padded * (HEAD / 2); at += WARPS * 32) {
        u32 token = at / (HEAD / 2), place = at % (HEAD / 2) * 2;
        u32 key = 0, value = 0;
        if (token < length) {
            key = *(const u32*)(first + (u64)token * wide + hidden + place);
            value = *(const u32*)(first + (u64)token * wide + 2 * hidden + place);
        }
        *(u32*)(keys + token * KEY_PITCH + place) = key;
        values[place * value_pitch + token] = (u16)value;
        values[(place + 1) * value_pitch + token] = (u16)(value >> 16);
    }
    __syncthreads();

    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 query = threadIdx.x / 32 * 16; query < padded; query += WARPS * 16) {
        // Queries beyond the length take those of the first token; nobody reads their answers.
        const u16* upper = first + (u64)(query + g < length ? query + g : 0) * wide;
        const u16* lower = first + (u64)(query + g + 8 < length ? query + g + 8 : 0) * wide;
        u32 of_q[HEAD / 16][4];
#pragma unroll
        for (u32 k = 0; k < HEAD / 16; k++) {
            of_q[k][0] = *(const u32*)(upper + k * 16 + 2 * t);
            of_q[k][1] = *(const u32*)(lower + k * 16 + 2 * t);
            of_q[k][2] = *(const u32*)(upper + k * 16 + 2 * t + 8);
            of_q[k][3] = *(const u32*)(lower + k * 16 + 2 * t + 8);
        }
        float sums[HEAD / 8][4];
#pragma unroll
        for (u32 j = 0; j < HEAD / 8; j++) {
            sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
        }
        float most[2] = {-INFINITE, -INFINITE}, total[2] = {0.0f, 0.0f};
        for (u32 key = 0; key < padded; key += 16) {
            // Scores of 16 queries and twice 8 keys.
            float scores[2][4];
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                scores[half][0] = scores[half][1] = scores[half][2] = scores[half][3] = 0.0f;
                const u16* row = keys + (key + half * 8 + g) * KEY_PITCH;
#pragma unroll
                for (u32 k = 0; k < HEAD / 16; k++) {
                    u32 of_k[2] = {*(const u32*)(row + k * 16 + 2 * t), *(const u32*)(row + k * 16 + 2 * t + 8)};
                    tensor_product(scores[half], of_q[k], of_k);
                }
#pragma unroll
                for (u32 n = 0; n < 4; n++) {
                    u32 column = key + half * 8 + 2 * t + n % 2;
                    scores[half][n] = column < length ? scores[half][n] * scale : -INFINITE;
                }
            }
            // The first 16 keys have one that is there, so a maximum is a number from then on.
            float grow[2];
#pragma unroll
            for (u32 r = 0; r < 2; r++) {
                float here = fmaxf(fmaxf(scores[0][2 * r], scores[0][2 * r + 1]),
                                   fmaxf(scores[1][2 * r], scores[1][2 * r + 1]));
                float now = fmaxf(most[r], max_of_row(here));
                grow[r] = exp2f(most[r] - now);
                most[r] = now;
                float sum = 0.0f;
#pragma unroll
                for (u32 half = 0; half < 2; half++) {
                    scores[half][2 * r] = exp2f(scores[half][2 * r] - now);
                    scores[half][2 * r + 1] = exp2f(scores[half][2 * r + 1] - now);
                    sum = sum + (scores[half][2 * r] + scores[half][2 * r + 1]);
                }
                total[r] = fmaf(total[r], grow[r], sum);
            }
            // What lanes have of the scores is what they need to have of the left side of the next product.
            u32 weights[4] = {
                brains_of_floats(scores[0][0], scores[0][1]), brains_of_floats(scores[0][2], scores[0][3]),
                brains_of_floats(scores[1][0], scores[1][1]), brains_of_floats(scores[1][2], scores[1][3])};
#pragma unroll
            for (u32 j = 0; j < HEAD / 8; j++) {
                sums[j][0] *= grow[0];
                sums[j][1] *= grow[0];
                sums[j][2] *= grow[1];
                sums[j][3] *= grow[1];
                const u16* row = values + (j * 8 + g) * value_pitch + key + 2 * t;
                u32 of_v[2] = {*(const u32*)row, *(const u32*)(row + 8)};
                tensor_product(sums[j], weights, of_v);
            }
        }
        float upper_scale = 1.0f / sum_of_row(total[0]), lower_scale = 1.0f / sum_of_row(total[1]);
        u16* to = out + (u64)(begin + query + g) * hidden + head * HEAD + 2 * t;
#pragma unroll
        for (u32 j = 0; j < HEAD / 8; j++) {
            if (query + g < length) {
                *(u32*)(to + j * 8) = brains_of_floats(sums[j][0] * upper_scale, sums[j][1] * upper_scale);
            }
            if (query + g + 8 < length) {
                *(u32*)(to + (u64)8 * hidden + j * 8) =
                    brains_of_floats(sums[j][2] * lower_scale, sums[j][3] * lower_scale);
            }
        }
    }
}
