/* Values of every class that the calling convention knows: how each is made of a number, and made a number again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

typedef uint64_t u64;
typedef __int128 i128;
#ifndef __cplusplus
typedef _Complex double complex_;
#endif
typedef int int4 __attribute__((vector_size(16)));
typedef double double2 __attribute__((vector_size(16)));
typedef float float2 __attribute__((vector_size(8)));
typedef struct { unsigned char a[3]; } Odd;
typedef struct { short a; char b; int c; } Small;
typedef struct { int64_t a; double b; } Mixed;
typedef struct { double a; int b, c; } MixedToo;
typedef struct { float a, b, c; } Floats;
typedef struct { int64_t a, b; } Pair;
typedef struct { int64_t a, b, c; } Memory;
typedef struct { char a[100]; } Large;
typedef struct { long double a; } Extended;
typedef struct { int4 a; } Vector;
typedef struct __attribute__((packed)) { char a; int64_t b; } Packed;
typedef struct __attribute__((aligned(64))) { int a; } Aligned;
typedef struct { unsigned a : 5, b : 20; u64 c : 40; } Bits;
typedef union { double a; u64 b; } Either;
#ifdef __cplusplus
typedef struct { } Empty;
#endif

static inline u64 mix(u64 hash, u64 value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static inline u64 bits(double value) {
    u64 result;
    memcpy(&result, &value, sizeof result);
    return result;
}

typedef signed char schar;
typedef unsigned short half;
typedef long double extended;
typedef const char *text;

#define VALUE(TYPE, MAKE, FOLD) \
    static inline TYPE make_##TYPE(u64 n) { TYPE v; memset((void *)&v, 0, sizeof v); MAKE; return v; } \
    static inline u64 fold_##TYPE(TYPE v) { return FOLD; }
#define SCALAR(TYPE, FOLD) VALUE(TYPE, v = (TYPE)(n >> 3), FOLD)

SCALAR(schar, (u64)(int64_t)v)
SCALAR(half, v)
SCALAR(int, (u64)(int64_t)v)
SCALAR(u64, v)
SCALAR(float, bits(v))
SCALAR(double, bits(v))
SCALAR(extended, bits((double)v))
VALUE(text, v = "a text to point into, as long as that" + n % 32, strlen(v))
VALUE(i128, v = ((i128)n << 60) | (n * 3), (u64)(v >> 64) ^ (u64)v)
VALUE(int4, (v[0] = (int)n, v[1] = (int)(n >> 8), v[3] = (int)(n >> 31)), mix(mix((u64)v[0], (u64)v[1]), (u64)(v[2] ^ v[3])))
VALUE(double2, (v[0] = (double)n, v[1] = (double)(n >> 9)), mix(bits(v[0]), bits(v[1])))
VALUE(float2, (v[0] = (float)n, v[1] = (float)(n >> 9)), mix(bits(v[0]), bits(v[1])))
VALUE(Odd, memcpy(v.a, &n, 3), (u64)v.a[0] << 16 | (u64)v.a[1] << 8 | v.a[2])
VALUE(Small, (v.a = (short)n, v.b = (char)(n >> 16), v.c = (int)(n >> 20)), mix(mix((u64)v.a, (u64)v.b), (u64)v.c))
VALUE(Mixed, (v.a = (int64_t)n, v.b = (double)(n >> 5)), mix((u64)v.a, bits(v.b)))
VALUE(MixedToo, (v.a = (double)n, v.b = (int)n, v.c = (int)(n >> 32)), mix(mix(bits(v.a), (u64)v.b), (u64)v.c))
VALUE(Floats, (v.a = (float)n, v.b = (float)(n >> 20), v.c = (float)(n >> 40)), mix(mix(bits(v.a), bits(v.b)), bits(v.c)))
VALUE(Pair, (v.a = (int64_t)n, v.b = (int64_t)~n), mix((u64)v.a, (u64)v.b))
VALUE(Memory, (v.a = (int64_t)n, v.b = 7, v.c = (int64_t)(n >> 1)), mix(mix((u64)v.a, (u64)v.b), (u64)v.c))
VALUE(Large, (v.a[0] = (char)n, v.a[63] = (char)(n >> 8), v.a[99] = (char)(n >> 16)), mix(mix((u64)v.a[0], (u64)v.a[63]), (u64)v.a[99]))
VALUE(Extended, v.a = (extended)n, bits((double)v.a))
VALUE(Vector, v.a = make_int4(n), fold_int4(v.a))
VALUE(Packed, (v.a = (char)n, v.b = (int64_t)(n >> 2)), mix((u64)v.a, (u64)v.b))
VALUE(Aligned, v.a = (int)n, mix((u64)v.a, (uintptr_t)&v % 64))
VALUE(Bits, (v.a = (unsigned)n, v.b = (unsigned)(n >> 7), v.c = n >> 9), mix(mix(v.a, v.b), v.c))
VALUE(Either, v.a = (double)n, v.b)

#ifdef __cplusplus
VALUE(Empty, (void)n, 1)

/* Passed by reference to a copy that the caller makes and ends. */
extern u64 copies;
struct Owner {
    u64 a;
    explicit Owner(u64 n) : a(n) {}
    Owner(const Owner &other) : a(other.a) { copies += a % 7; }
    ~Owner() { copies = mix(copies, a); }
};
static inline Owner make_Owner(u64 n) { return Owner(n); }
static inline u64 fold_Owner(const Owner &v) { return v.a; }

struct Thrown {
    u64 a;
};
#else
VALUE(complex_, v = (double)n + (double)(n >> 7) * 1.0i, mix(bits(__real__ v), bits(__imag__ v)))
#endif

/* Which of `count` targets a site calls in this round. */
static inline unsigned pick(unsigned kind, unsigned round, unsigned count) {
    switch (kind) {
    case 0: return 0;                                                      /* the same ever */
    case 1: return round / 1300 % count;                                   /* another one now and then */
    case 2: return round % count;                                          /* each in turn */
    case 3: return round % 11 ? 0 : round / 11 % count;                    /* one most of the time */
    default: return (unsigned)(mix(round, kind) >> 40) % count;            /* any */
    }
}
