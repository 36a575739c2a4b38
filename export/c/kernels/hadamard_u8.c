/* needs: hadamard_transform */
/* acc[n] += s(n) times the sum over the k of n's block of S[n][k] x[k], modulo 2^32, where S is the Sylvester matrix of
   block entries, a power of two that divides size, and s(n) is -1 where bit n of signs is set, else 1: a fast
   Walsh-Hadamard transform in work, which holds size entries. */
static void hadamard_u8(int32_t *acc, const uint8_t *signs, const uint8_t *x, size_t size, size_t block, int32_t *work)
{
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    uint32_t *value = (uint32_t *)work;
    for (size_t n = 0; n < size; ++n) {
        value[n] = (uint32_t)x[n];
    }
    hadamard_transform(value, size, block);
    for (size_t n = 0; n < size; ++n) {
        /* All bits of a minus are set: (v ^ minus) - minus is -v. */
        const uint32_t minus = 0u - (uint32_t)((signs[n / 8] >> (n % 8)) & 1);
        sum[n] += (value[n] ^ minus) - minus;
    }
}
