// Runs cases of the oracle natively: reads records from standard input, writes results to standard output.
// Build: gcc -O1 -o native native.c (x86-64 Linux). The layout of the records is in layout.ts.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define CODE 0x100000
#define DATA 0x200000
#define STACK 0x300000
#define CODE_BYTES 0x1000
#define DATA_BYTES 0x2000
#define STACK_BYTES 0x1000

struct test {
  uint64_t registers[16], flags;
  uint32_t bits, fill, length;
  uint8_t code[384 - 148];
};

struct result {
  uint64_t registers[16], rip, flags;
  uint32_t vector, error;
  uint64_t address, data_hash, stack_hash;
  uint64_t unused[2];
};

_Static_assert(sizeof(struct test) == 384, "case");
_Static_assert(sizeof(struct result) == 192, "result");

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
static struct test test;
static struct result result;
static ucontext_t home;
static greg_t home_registers[23];
static volatile int running;

static void on_start(int signal, siginfo_t *info, void *context) {
  ucontext_t *c = context;
  memcpy(home_registers, c->uc_mcontext.gregs, sizeof home_registers);
  for (int i = 0; i < 16; i++) c->uc_mcontext.gregs[order[i]] = test.registers[i];
  c->uc_mcontext.gregs[REG_RIP] = CODE;
  c->uc_mcontext.gregs[REG_EFL] = test.flags;
  if (test.bits == 32) {
    uint64_t segments = c->uc_mcontext.gregs[REG_CSGSFS];
    c->uc_mcontext.gregs[REG_CSGSFS] = (segments & ~0xffffull) | 0x23;
  }
  running = 1;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  ucontext_t *c = context;
  if (!running) _exit(2);
  running = 0;
  for (int i = 0; i < 16; i++) result.registers[i] = c->uc_mcontext.gregs[order[i]];
  result.rip = c->uc_mcontext.gregs[REG_RIP];
  result.flags = c->uc_mcontext.gregs[REG_EFL];
  result.vector = c->uc_mcontext.gregs[REG_TRAPNO];
  result.error = c->uc_mcontext.gregs[REG_ERR];
  result.address = c->uc_mcontext.gregs[REG_CR2];
  memcpy(c->uc_mcontext.gregs, home_registers, sizeof home_registers);
}

static uint32_t fill(uint8_t *at, uint32_t size, uint32_t state) {
  for (uint32_t i = 0; i < size; i += 4) {
    state = state * 1664525 + 1013904223;
    memcpy(at + i, &state, 4);
  }
  return state;
}

static uint64_t hash(const uint8_t *at, uint32_t size) {
  uint32_t h = 0x811c9dc5;
  for (uint32_t i = 0; i < size; i += 4) {
    uint32_t word;
    memcpy(&word, at + i, 4);
    h = (h ^ word) * 0x01000193;
    h ^= h >> 15;
  }
  return h;
}

static void map(uint64_t address, uint32_t size, int protection) {
  if (mmap((void *)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
}

int main(void) {
  map(CODE, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
  map(DATA, DATA_BYTES, PROT_READ | PROT_WRITE);
  map(STACK, STACK_BYTES, PROT_READ | PROT_WRITE);
  static uint8_t other_stack[1 << 16];
  stack_t alternate = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
  sigaltstack(&alternate, NULL);
  struct sigaction start = {.sa_sigaction = on_start, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigaction(SIGUSR1, &start, NULL);
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
  for (int i = 0; i < 5; i++) sigaction(signals[i], &fault, NULL);
  // 32-bit code needs data segments.
  __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x2b));
  while (fread(&test, sizeof test, 1, stdin) == 1) {
    memset((void *)CODE, 0xcc, CODE_BYTES);
    memcpy((void *)CODE, test.code, test.length);
    uint32_t state = fill((uint8_t *)DATA, DATA_BYTES, test.fill);
    fill((uint8_t *)STACK, STACK_BYTES, state);
    memset(&result, 0, sizeof result);
    raise(SIGUSR1);
    result.data_hash = hash((uint8_t *)DATA, DATA_BYTES);
    result.stack_hash = hash((uint8_t *)STACK, STACK_BYTES);
    fwrite(&result, sizeof result, 1, stdout);
  }
  return 0;
}
