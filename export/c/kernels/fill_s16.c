/* values[n] = value. */
static void fill_s16(int16_t *values, int16_t value, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        values[n] = value;
    }
}
