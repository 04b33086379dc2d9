// Learns, writes itself with all its data to the file that the argument names, as Emacs did, and ends. That program goes on
// with the data, but without what was mapped.
#include "sites.h"
#include <elf.h>
#include <string.h>
#include <sys/stat.h>

static int dumped;
extern char __data_start, _end;

static void call_all(void) {
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 3000; round++)
            check(site, (site + round % 5) % TARGETS, round);
}

static int dump(const char *path) {
    enum { MOST = 1 << 24 };
    char *image = calloc(1, MOST);
    FILE *in = fopen("/proc/self/exe", "rb"), *out = fopen(path, "wb");
    if (!image || !in || !out)
        return 2;
    size_t length = fread(image, 1, MOST / 2, in);
    Elf64_Ehdr *header = (Elf64_Ehdr *)image;
    Elf64_Phdr *segments = (Elf64_Phdr *)(image + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr *segment = &segments[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W))
            continue;
        size_t at = (length + 4095) / 4096 * 4096 + segment->p_vaddr % 4096;
        memcpy(image + at, image + segment->p_offset, segment->p_filesz);
        memcpy(image + at + ((uintptr_t)&__data_start - segment->p_vaddr), &__data_start,
               (size_t)(&_end - &__data_start));
        segment->p_offset = at;
        segment->p_filesz = segment->p_memsz;
        length = at + segment->p_filesz;
    }
    if (fwrite(image, 1, length, out) != length || fclose(out) || chmod(path, 0755))
        return 3;
    return 0;
}

int main(int argc, char **argv) {
    call_all();
    if (dumped) {
        static const char text[] = "dumped\n";
        return write(1, text, sizeof text - 1) < 0;
    }
    dumped = 1;
    int status = argc > 1 ? dump(argv[1]) : 2;
    _exit(status);
}
