#include <immintrin.h>
/* vpmaddwd of each field's bit, widened to 16 bits in its place: even columns and odd ones. The product is the sum of
   all x less twice the sum at set bits. */
static void matvec_s16_w1(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    /* Of four entries: those at even places in each 32 bits, and those at odd ones. */
    const __m256i evens = _mm256_set1_epi32(0x05040100), odds = _mm256_set1_epi32(0x07060302);
    const __m256i field = _mm256_set1_epi16(1);
    __m256i total = _mm256_setzero_si256();
    for (size_t column = 0; column < columns; ++column) {
        total = _mm256_add_epi32(total, _mm256_set1_epi32(x[column]));
    }
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
        for (size_t column = 0; column < columns; column += 32, w += 64) {
            int64_t words[8];
            memcpy(words, x + column, sizeof words);
            __m256i codes0 = _mm256_loadu_si256((const __m256i *)w);
            __m256i codes1 = _mm256_loadu_si256((const __m256i *)(w + 32));
            for (size_t place = 0; place < 8; ++place) {
                const __m256i entries = _mm256_set1_epi64x(words[place]);
                const __m256i even = _mm256_shuffle_epi8(entries, evens), odd = _mm256_shuffle_epi8(entries, odds);
                const __m256i even0 = _mm256_and_si256(codes0, field);
                const __m256i odd0 = _mm256_and_si256(_mm256_srli_epi16(codes0, 8), field);
                sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(even0, even));
                sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(odd0, odd));
                codes0 = _mm256_srli_epi16(codes0, 1);
                const __m256i even1 = _mm256_and_si256(codes1, field);
                const __m256i odd1 = _mm256_and_si256(_mm256_srli_epi16(codes1, 8), field);
                sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(even1, even));
                sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(odd1, odd));
                codes1 = _mm256_srli_epi16(codes1, 1);
            }
        }
        int32_t *y = acc + row;
        sum0 = _mm256_sub_epi32(total, _mm256_slli_epi32(sum0, 1));
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), sum0));
        sum1 = _mm256_sub_epi32(total, _mm256_slli_epi32(sum1, 1));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)), sum1));
    }
}
