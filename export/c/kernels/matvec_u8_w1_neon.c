/* needs: neon_sums */
/* The sum over all columns, less twice that where the sign is -1. A test of a bit makes a mask of it; what the masks leave
   of 8 columns is added in 16 bits, of 127 times as many at most: lanes 2n and 2n + 1 belong to row n. */
static void matvec_u8_w1(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    int32_t total = 0;
    for (size_t column = 0; column < columns; ++column) {
        total += x[column] - 128;
    }
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        int32x4_t sum[GROUPS];
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            sum[group] = vdupq_n_s32(0);
        }
        for (size_t column = 0; column < columns;) {
            const size_t end = columns - column > 15 * 32 ? column + 15 * 32 : columns;
            int16x8_t sums[GROUPS];
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                sums[group] = vdupq_n_s16(0);
            }
            for (; column < end; column += 32, w += 4 * MODEL_TILE) {
                UNROLLED
                for (size_t field = 0; field < 8; ++field) {
                    const int8x16_t v = four_less_128(x + column + 4 * field);
                    UNROLLED
                    for (size_t group = 0; group < GROUPS; ++group) {
                        const uint8x16_t mask = vtstq_u8(vld1q_u8(w + 16 * group), vdupq_n_u8((uint8_t)(1u << field)));
                        const int8x16_t left = vandq_s8(vreinterpretq_s8_u8(mask), v);
                        sums[group] = vpadalq_s8(sums[group], left);
                    }
                }
            }
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                sum[group] = vpadalq_s16(sum[group], sums[group]);
            }
        }
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            add_to(acc + row + 4 * group, vsubq_s32(vdupq_n_s32(total), vshlq_n_s32(sum[group], 1)));
        }
    }
}
