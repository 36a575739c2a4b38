/* sums[c] += x[c] - zero_point. */
static void sum_s16(int32_t *sums, const int16_t *x, int32_t zero_point, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        sums[c] += x[c] - zero_point;
    }
}
