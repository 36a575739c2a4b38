/* needs: pairs */
/* Each component is widened once and meets all four parts; a minus is in the weights. */
static void quaternion_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns,
                             size_t part)
{
#define EVEN(p, n) even_s8(w[4 * (p) + (n)])
#define ODD(p, n) odd_s8(w[4 * (p) + (n)])
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum[4][4];
        for (size_t n = 0; n < 16; ++n) {
            sum[n % 4][n / 4] = acc[n / 4 * rows + row + n % 4];
        }
        for (size_t column = 0; column < columns; column += 4, w += 16) {
            const int16_t *from = x + column;
            const int16_t *xi = from + part, *xj = xi + part, *xk = xj + part;
            const uint32_t r0 = even_s16(from), i0 = even_s16(xi), j0 = even_s16(xj), k0 = even_s16(xk);
            MEET_PARTS(sum, EVEN, r0, i0, j0, k0);
            const uint32_t r1 = odd_s16(from), i1 = odd_s16(xi), j1 = odd_s16(xj), k1 = odd_s16(xk);
            MEET_PARTS(sum, ODD, r1, i1, j1, k1);
        }
        for (size_t n = 0; n < 16; ++n) {
            acc[n / 4 * rows + row + n % 4] = sum[n % 4][n / 4];
        }
    }
#undef EVEN
#undef ODD
}
