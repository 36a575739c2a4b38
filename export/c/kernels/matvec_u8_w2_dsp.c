/* needs: pairs */
/* Codes are taken 2 too large, so that none is negative: that many times the sum of all columns is taken off again. */
static void matvec_u8_w2(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    uint32_t total = 0; /* unsigned, since it may wrap */
    for (size_t column = 0; column < columns; ++column) {
        total += x[column];
    }
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum[4];
        for (size_t n = 0; n < 4; ++n) {
            sum[n] = (int32_t)((uint32_t)acc[row + n] - 2 * total);
        }
        for (size_t column = 0; column < columns; column += 16, w += 4) {
            const uint8_t *from = x + column;
            uint32_t word[4];
            UNROLLED
            for (size_t n = 0; n < 4; ++n) {
                word[n] = w[n] ^ 0xaaaaaaaa;
            }
            UNROLLED
            for (unsigned field = 0; field < 4; ++field, from += 4) {
                const uint32_t four = word_at(from), even = even_u8(four), odd = odd_u8(four);
                PLUS_FIELD(sum, word, 2 * field, 0x00030003, even, odd);
            }
        }
        for (size_t n = 0; n < 4; ++n) {
            acc[row + n] = sum[n];
        }
    }
}
