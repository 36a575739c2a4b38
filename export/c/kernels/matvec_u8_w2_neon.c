/* needs: neon_sums */
/* 127 products of a byte by a code fit 16 bits, where lanes 2n and 2n + 1 belong to row n; then the sums go to 32. */
static void matvec_u8_w2(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        int32x4_t low[GROUPS], high[GROUPS];
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            low[group] = high[group] = vdupq_n_s32(0);
        }
        for (size_t column = 0; column < columns;) {
            const size_t end = columns - column > 496 ? column + 496 : columns;
            int16x8_t short_low[GROUPS], short_high[GROUPS];
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                short_low[group] = short_high[group] = vdupq_n_s16(0);
            }
            for (; column < end; column += 16, w += 4 * MODEL_TILE) {
                const uint8_t *from = x + column;
                const int8x16_t v0 = four_less_128(from), v1 = four_less_128(from + 4);
                const int8x16_t v2 = four_less_128(from + 8), v3 = four_less_128(from + 12);
                UNROLLED
                for (size_t group = 0; group < GROUPS; ++group) {
                    const int8x16_t all = vld1q_s8(w + 16 * group);
                    plus_products(&short_low[group], &short_high[group], CODES(all, 2, 0), v0);
                    plus_products(&short_low[group], &short_high[group], CODES(all, 2, 1), v1);
                    plus_products(&short_low[group], &short_high[group], CODES(all, 2, 2), v2);
                    plus_products(&short_low[group], &short_high[group], CODES(all, 2, 3), v3);
                }
            }
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                low[group] = vpadalq_s16(low[group], short_low[group]);
                high[group] = vpadalq_s16(high[group], short_high[group]);
            }
        }
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            add_to(acc + row + 4 * group, sums_of_pairs(low[group], high[group]));
        }
    }
}
