/* sums[c] += x[c] - zero_point. */
static void sum_u8(int32_t *sums, const uint8_t *x, int32_t zero_point, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        sums[c] += x[c] - zero_point;
    }
}
