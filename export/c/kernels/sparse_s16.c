/* acc[n] += sum over k of w[n][k] * x[k], modulo 2^32, of the weights that are not 0: row n has counts[n] of them, in the order of
   the columns; a gap is how many columns lie between one and the one before. */
static void sparse_s16(int32_t *acc, const uint8_t *gaps, const int8_t *values, const uint16_t *counts, const int16_t *x,
                       size_t rows)
{
    for (size_t n = 0; n < rows; n++) {
        const int16_t *v = x;
        uint32_t sum = 0; /* unsigned, since it may wrap */
        for (size_t left = counts[n]; left > 0; left--) {
            v += *gaps++;
            sum += (uint32_t)(*values++ * *v++);
        }
        acc[n] = (int32_t)((uint32_t)acc[n] + sum);
    }
}
