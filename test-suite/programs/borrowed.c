// Borrows rights, or writes over its environment, as programs do that set their title. Arguments: "title", "rights", or
// "plugin" and a shared object with sites, which is loaded while the rights are given up.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t (*target_t)(uint64_t);
extern char **environ;

static uint64_t own_target(uint64_t x) { return x * 31 + 7; }
static target_t volatile own = own_target;

static int own_calls_go_right(void) {
    for (uint64_t x = 0; x < 1000; x++)
        if (own(x) != x * 31 + 7)
            return 0;
    return 1;
}

static int calls_of_plugin_go_right(const char *path) {
    uint64_t (*call)(target_t, uint64_t), x;
    void *plugin;
    if (seteuid(getuid()) || !(plugin = dlopen(path, RTLD_NOW)))
        return 0;
    *(void **)&call = dlsym(plugin, "plugin_call");
    for (x = 0; x < 1000; x++)
        if (call(own_target, x) != (((x + CONSTANT) * 31 + 7) ^ CONSTANT))
            return 0;
    return !seteuid(0) && !dlclose(plugin);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    if (!strcmp(argv[1], "title")) {
        for (char **entry = environ; *entry; entry++)
            memset(*entry, '/', strlen(*entry));
        environ = NULL;
    } else if (getuid() == geteuid()) {
        fputs("no rights are borrowed\n", stderr);
        return 1;
    }
    if (!(argc > 2 ? calls_of_plugin_go_right(argv[2]) : own_calls_go_right()))
        return 1;
    puts("ok");
}
