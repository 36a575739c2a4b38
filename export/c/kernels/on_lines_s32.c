/* needs: floor_shift */
/* As on_lines_s16, of knots of 32 bits: y = t[i] + floor(((t[i+1] - t[i]) k + 2^(shift-1)) / 2^shift). */
static void on_lines_s32(int32_t *y, const int16_t *index, const int32_t *knots, unsigned shift, size_t count)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    for (size_t n = 0; n < count; n++) {
        const int32_t i = index[n] >> shift;
        const int32_t k = index[n] - (i << shift);
        const int64_t rise = ((int64_t)knots[i + 1] - knots[i]) * k;
        y[n] = (int32_t)(knots[i] + floor_shift(rise + half, shift));
    }
}
