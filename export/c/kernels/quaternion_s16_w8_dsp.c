/* needs: pairs */
/* Each component is widened once and meets all four parts; a minus is in the weights. */
static void quaternion_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum[16]; /* r, i, j and k of each row */
        for (size_t n = 0; n < 16; ++n) {
            sum[n % 4 * 4 + n / 4] = acc[n / 4 * rows + row + n % 4];
        }
        for (size_t column = 0; column < columns; column += 4, w += 16) {
            const int16_t *from = x + column;
            const int16_t *xi = from + part, *xj = xi + part, *xk = xj + part;
            even_pairs_meet(sum, w, even_s16(from), even_s16(xi), even_s16(xj), even_s16(xk));
            odd_pairs_meet(sum, w, odd_s16(from), odd_s16(xi), odd_s16(xj), odd_s16(xk));
        }
        for (size_t n = 0; n < 16; ++n) {
            acc[n / 4 * rows + row + n % 4] = sum[n % 4 * 4 + n / 4];
        }
    }
}
