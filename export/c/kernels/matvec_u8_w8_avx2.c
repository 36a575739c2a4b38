#include <immintrin.h>
/* vpmaddwd of bytes widened to 16 bits in their places: even columns and odd ones. (vpmaddubsw would saturate.) */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
        for (size_t column = 0; column < columns; column += 4, w += 64) {
            int32_t word;
            memcpy(&word, x + column, sizeof word);
            const __m256i entries = _mm256_set1_epi32(word);
            const __m256i even = _mm256_and_si256(entries, byte), odd = _mm256_srli_epi16(entries, 8);
            const __m256i codes0 = _mm256_loadu_si256((const __m256i *)w);
            const __m256i even0 = _mm256_srai_epi16(_mm256_slli_epi16(codes0, 8), 8);
            const __m256i odd0 = _mm256_srai_epi16(codes0, 8);
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(even0, even));
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(odd0, odd));
            const __m256i codes1 = _mm256_loadu_si256((const __m256i *)(w + 32));
            const __m256i even1 = _mm256_srai_epi16(_mm256_slli_epi16(codes1, 8), 8);
            const __m256i odd1 = _mm256_srai_epi16(codes1, 8);
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(even1, even));
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(odd1, odd));
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), sum0));
        _mm256_storeu_si256((__m256i *)(y + 8), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 8)), sum1));
    }
}
