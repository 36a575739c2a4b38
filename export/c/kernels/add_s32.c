/* values[n] += other[n], modulo 2^32. */
static void add_s32(int32_t *values, const int32_t *other, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        values[n] = (int32_t)((uint32_t)values[n] + (uint32_t)other[n]);
    }
}
