/* needs: pairs */
/* Each component's codes are widened to bytes first, and then once more, when they meet all four parts; a minus is in the weights. */
static void quaternion_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum[16]; /* r, i, j and k of each row */
        for (size_t n = 0; n < 16; ++n) {
            sum[n % 4 * 4 + n / 4] = acc[n / 4 * rows + row + n % 4];
        }
        for (size_t column = 0; column < columns; column += 8, w += 16) {
            for (unsigned field = 0; field < 2; ++field) {
                const uint8_t *from = x + column + 4 * field;
                uint32_t code[16];
                for (size_t n = 0; n < 16; ++n) {
                    code[n] = codes_w4(w[n], 4 * field);
                }
                const uint32_t xr = word_at(from), xi = word_at(from + part);
                const uint32_t xj = word_at(from + 2 * part), xk = word_at(from + 3 * part);
                even_pairs_meet(sum, code, even_u8(xr), even_u8(xi), even_u8(xj), even_u8(xk));
                odd_pairs_meet(sum, code, odd_u8(xr), odd_u8(xi), odd_u8(xj), odd_u8(xk));
            }
        }
        for (size_t n = 0; n < 16; ++n) {
            acc[n / 4 * rows + row + n % 4] = sum[n % 4 * 4 + n / 4];
        }
    }
}
