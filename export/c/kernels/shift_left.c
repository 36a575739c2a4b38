/* values[n] *= 2^shift, modulo 2^32. */
static void shift_left(int32_t *values, unsigned shift, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        values[n] = (int32_t)((uint32_t)values[n] << shift);
    }
}
