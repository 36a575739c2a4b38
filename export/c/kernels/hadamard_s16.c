/* acc[n] += s(n) times the sum over the k of n's block of S[n][k] x[k], modulo 2^32, where S is the Sylvester matrix of
   block entries, a power of two that divides size, and s(n) is -1 where bit n of signs is set, else 1: a fast
   Walsh-Hadamard transform in work, which holds size entries. */
static void hadamard_s16(int32_t *acc, const uint8_t *signs, const int16_t *x, size_t size, size_t block, int32_t *work)
{
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    uint32_t *value = (uint32_t *)work;
    for (size_t n = 0; n < size; n++) {
        value[n] = (uint32_t)x[n];
    }
    for (size_t half = 1; half < block; half *= 2) {
        for (size_t first = 0; first < size; first += 2 * half) {
            uint32_t *low = value + first;
            uint32_t *high = low + half;
            for (size_t n = 0; n < half; n++) {
                const uint32_t added = low[n] + high[n];
                high[n] = low[n] - high[n];
                low[n] = added;
            }
        }
    }
    for (size_t n = 0; n < size; n++) {
        sum[n] += (signs[n / 8] >> (n % 8)) & 1 ? 0 - value[n] : value[n];
    }
}
