/* needs: pairs */
/* Codes are taken 8 too large, so that none is negative: that many times the sum of all columns is taken off again. */
static void matvec_s16_w4(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    uint32_t total = 0; /* unsigned, since it may wrap */
    for (size_t column = 0; column < columns; ++column) {
        total += (uint32_t)x[column];
    }
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum[4];
        for (size_t n = 0; n < 4; ++n) {
            sum[n] = (int32_t)((uint32_t)acc[row + n] - 8 * total);
        }
        for (size_t column = 0; column < columns; column += 8, w += 4) {
            const int16_t *from = x + column;
            uint32_t word[4];
            UNROLLED
            for (size_t n = 0; n < 4; ++n) {
                word[n] = w[n] ^ 0x88888888;
            }
            UNROLLED
            for (unsigned field = 0; field < 2; ++field, from += 4) {
                const uint32_t even = even_s16(from), odd = odd_s16(from);
                PLUS_FIELD(sum, word, 4 * field, 0x000f000f, even, odd);
            }
        }
        for (size_t n = 0; n < 4; ++n) {
            acc[row + n] = sum[n];
        }
    }
}
