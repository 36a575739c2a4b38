/* values[n] = values[n] * 2^shift + other[n], modulo 2^32. */
static void shift_and_add(int32_t *values, unsigned shift, const int32_t *other, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        values[n] = (int32_t)(((uint32_t)values[n] << shift) + (uint32_t)other[n]);
    }
}
