// The first kernel that runs on a device: if its answer is right, compiling, loading, launching and copying work.
//
//   out = Σ (xᵢ · 0.5 + i)     summed by 32 threads: lane l takes i ≡ l mod 32 in order, then lanes 16, 8, 4, 2, 1 apart

extern "C" __global__ void self_test(const float* values, unsigned count, float* out) {
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < count; i += 32) {
        sum = sum + fmaf(values[i], 0.5f, (float)i);
    }
    for (unsigned apart = 16; apart > 0; apart /= 2) {
        sum = sum + shuffle_xor(sum, apart);
    }
    if (threadIdx.x == 0) {
        out[0] = sum;
    }
}
