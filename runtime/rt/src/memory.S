# What compilers call for large moves, local to the archive's object: calls of the C library's would go
# through the GOT or the PLT, which are indirect branches, and may use vector registers.

    .text
    .type memcpy,@function
memcpy:
    mov %rdi, %rax
    mov %rdx, %rcx
    rep movsb
    ret
    .size memcpy, . - memcpy

    .type memmove,@function
memmove:
    mov %rdi, %rax
    mov %rdx, %rcx
    mov %rdi, %rdx
    sub %rsi, %rdx
    cmp %rcx, %rdx
    jb 1f
    rep movsb
    ret
1:  # the destination overlaps the source from above: backwards
    lea -1(%rdi,%rcx), %rdi
    lea -1(%rsi,%rcx), %rsi
    std
    rep movsb
    cld
    ret
    .size memmove, . - memmove

    .type memset,@function
memset:
    mov %rdi, %r8
    mov %esi, %eax
    mov %rdx, %rcx
    rep stosb
    mov %r8, %rax
    ret
    .size memset, . - memset

    .type memcmp,@function
memcmp:
    xor %ecx, %ecx
2:  cmp %rdx, %rcx
    je 3f
    movzbl (%rdi,%rcx), %eax
    movzbl (%rsi,%rcx), %r8d
    inc %rcx
    sub %r8d, %eax
    je 2b
    ret
3:  xor %eax, %eax
    ret
    .size memcmp, . - memcmp
    .set bcmp, memcmp

    .type strlen,@function
strlen:
    mov $-1, %rax
4:  inc %rax
    cmpb $0, (%rdi,%rax)
    jne 4b
    ret
    .size strlen, . - strlen
