// The slow path must not disturb anything that an argument can travel in, nor what a callee-saved register
// holds: at a site's first call, at the call that decides it, and at every one between.
#include <immintrin.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { long a[5]; } big_t;
typedef struct { double x; long y; } mixed_t;

#define CHECK(X) do { if (!(X)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #X); abort(); } } while (0)

__attribute__((noinline)) static big_t take_all(long a, long b, long c, long d, long e, long f, double g, float h,
        double i, double j, double k, double l, double m, double n, long double o, __int128 p, big_t q, mixed_t r) {
    CHECK(a == 1 && b == 2 && c == 3 && d == 4 && e == 5 && f == 6);
    CHECK(g == 1.5 && h == 2.5f && i == 3.5 && j == 4.5 && k == 5.5 && l == 6.5 && m == 7.5 && n == 8.5);
    CHECK(o == 9.25L && p == ((__int128)7 << 70) + 3 && q.a[0] == 10 && q.a[4] == 14);
    CHECK(r.x == 0.125 && r.y == -9);
    return q;
}

__attribute__((noinline)) static double sum(int count, ...) {
    va_list list;
    va_start(list, count);
    double total = 0;
    for (int i = 0; i < count; i++)
        total += i % 2 ? va_arg(list, double) : (double)va_arg(list, long);
    va_end(list);
    return total;
}

__attribute__((noinline, target("avx2"))) static __m256i add256(__m256i a, __m256i b, __m256d c) {
    CHECK(c[3] == 4.0);
    return _mm256_add_epi64(a, b);
}

__attribute__((noinline, target("avx512f"))) static __m512i add512(__m512i a, __m512i b, __m512d c) {
    CHECK(c[7] == 8.0);
    return _mm512_add_epi64(a, b);
}

static big_t (*volatile all)(long, long, long, long, long, long, double, float, double, double, double, double,
        double, double, long double, __int128, big_t, mixed_t) = take_all;
static double (*volatile variadic)(int, ...) = sum;
static __m256i (*volatile wide)(__m256i, __m256i, __m256d) = add256;
static __m512i (*volatile widest)(__m512i, __m512i, __m512d) = add512;

__attribute__((noinline)) static void call_all(void) {
    big_t q = {{10, 11, 12, 13, 14}};
    mixed_t r = {0.125, -9};
    long kept[6];
    for (int i = 0; i < 6; i++)
        __asm__ volatile("mov %1, %0" : "=r"(kept[i]) : "r"((long)(i * 7 + 1)));
    big_t back = all(1, 2, 3, 4, 5, 6, 1.5, 2.5f, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.25L, ((__int128)7 << 70) + 3, q, r);
    CHECK(memcmp(&back, &q, sizeof q) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(kept[i] == i * 7 + 1);
    CHECK(variadic(4, 1L, 2.0, 3L, 4.0) == 10.0);
    CHECK(variadic(0) == 0.0);
}

__attribute__((noinline, target("avx2"))) static void call_wide(void) {
    __m256i a = {1, 2, 3, 4}, b = {10, 20, 30, 40};
    __m256i s = wide(a, b, (__m256d){1, 2, 3, 4});
    CHECK(s[0] == 11 && s[1] == 22 && s[2] == 33 && s[3] == 44);
}

__attribute__((noinline, target("avx512f"))) static void call_widest(void) {
    __m512i a = {1, 2, 3, 4, 5, 6, 7, 8};
    __m512i s = widest(a, a, (__m512d){1, 2, 3, 4, 5, 6, 7, 8});
    for (int i = 0; i < 8; i++)
        CHECK(s[i] == 2 * (i + 1));
}

int main(void) {
    for (int round = 0; round < 3000; round++) {
        call_all();
        if (__builtin_cpu_supports("avx2"))
            call_wide();
        if (__builtin_cpu_supports("avx512f"))
            call_widest();
    }
    puts(__builtin_cpu_supports("avx512f") ? "ok avx512" : "ok");
}
