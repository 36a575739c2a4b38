/* values[n] = value. */
static void fill_u8(uint8_t *values, uint8_t value, size_t count)
{
    memset(values, value, count);
}
