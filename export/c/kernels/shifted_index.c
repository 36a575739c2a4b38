/* needs: rounded_shift, clipped */
/* index[n] = clip(round(values[n] / 2^shift) + size / 2, 0, size - 1): of a table of size entries. */
static void shifted_index(int16_t *index, const int16_t *values, size_t count, unsigned shift, int32_t size)
{
    for (size_t n = 0; n < count; n++) {
        index[n] = (int16_t)clipped(rounded_shift(values[n], shift) + size / 2, 0, size - 1);
    }
}
