/* Counts the instructions that an emulated program executes.
 *
 * A plugin for qemu-user 6.0 or newer (TCG plugin API, version 1).  The part of the API that is used is declared here, since distributions
 * ship no header for it.  The program marks places with sched_yield(), which does nothing where nothing else runs; at each mark, and at
 * the end, the number of instructions executed so far is written to the file named by the argument out=FILE.
 *
 * Loaded before the C library, it also keeps the program's clock: one that does not depend on how fast this machine is.
 *
 *     gcc -O2 -shared -fPIC -o insncount.so insncount.c
 *     LD_PRELOAD=./insncount.so qemu-aarch64 -U LD_PRELOAD -plugin ./insncount.so,out=marks.txt program
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define PUBLIC __attribute__((visibility("default")))
#define SCHED_YIELD 124  /* on 64-bit ARM */
#define ADD 0            /* the one inline operation: add a constant */

typedef uint64_t plugin_id;
struct block;            /* qemu's: instructions translated together, executed from first to last */

extern size_t qemu_plugin_tb_n_insns(const struct block *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, int operation, void *counter, uint64_t value);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                                     uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

PUBLIC int qemu_plugin_version = 1;

static uint64_t executed, looked;
static FILE *out;

/* Called once for each block, when it is translated: from then on qemu itself adds its length each time that it is entered. */
static void translated(plugin_id id, struct block *b)
{
    qemu_plugin_register_vcpu_tb_exec_inline(b, ADD, &executed, qemu_plugin_tb_n_insns(b));
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    if (number == SCHED_YIELD) fprintf(out, "%" PRIu64 "\n", executed);
}

static void ended(plugin_id id, void *unused)
{
    fprintf(out, "end %" PRIu64 "\n", executed);
    fclose(out);
}

/* qemu asks the C library for the time that the program asks for.  These stand before it: each look at the clock moves it on by 1 us. */
PUBLIC int clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t us = __atomic_add_fetch(&looked, 1, __ATOMIC_RELAXED);
    *now = (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    return 0;
}

PUBLIC int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return 0;
}

PUBLIC int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4)) out = fopen(argv[i] + 4, "w");
    if (!out) return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
