/* needs: rounded_shift, clipped */
/* index[n] = clip(round((gate[n] values[n] + addend[n]) / 2^shift) + size / 2, 0, size - 1), of a table of size entries.
   gate is Q0.15, |addend| at most 2^29 and shift at most 17, so that 32 bits hold the sum. index may be values. */
static void gated_index(int16_t *index, const int16_t *gate, const int16_t *values, const int32_t *addend, size_t count,
                        unsigned shift, int32_t size)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t sum = gate[n] * values[n] + addend[n];
        index[n] = (int16_t)clipped(rounded_shift(sum, shift) + size / 2, 0, size - 1);
    }
}
