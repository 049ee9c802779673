// Runs single instructions on the host's processor. Reads cases from one file and writes what became of them to
// another; the layout of both is that of tests/fpu/cases.ts.
//
//   cc -O1 -o oracle oracle.c && ./oracle cases results
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

struct __attribute__((aligned(64))) record {
  uint8_t code[32]; // length, then the bytes; on output the trap's number or 255
  uint64_t registers[4]; // RAX, RCX, RDX, RBX
  uint64_t flags;
  uint8_t unused[120];
  uint8_t operand[64]; // what RSI and RDI point at
  uint8_t image[512]; // FXSAVE
};

static uint8_t *code;
static uint32_t codeLength;
static volatile uint32_t trap;

static void onSignal(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  ucontext_t *c = context;
  uint64_t rip = c->uc_mcontext.gregs[REG_RIP];
  if (rip != (uint64_t)code) _exit(3);
  trap = c->uc_mcontext.gregs[REG_TRAPNO];
  c->uc_mcontext.gregs[REG_RIP] = rip + codeLength;
}

static void run(struct record *r) {
  static const uint32_t mxcsr = 0x1f80;
  asm volatile(
      "push %%rbp\n\t"
      "mov %0, %%r12\n\t"
      "fxrstor64 256(%%r12)\n\t"
      "mov 32(%%r12), %%rax\n\t"
      "mov 40(%%r12), %%rcx\n\t"
      "mov 48(%%r12), %%rdx\n\t"
      "mov 56(%%r12), %%rbx\n\t"
      "lea 192(%%r12), %%rsi\n\t"
      "mov %%rsi, %%rdi\n\t"
      "push 64(%%r12)\n\t"
      "popf\n\t"
      "call *%1\n\t"
      "pushf\n\t"
      "pop 64(%%r12)\n\t"
      "mov %%rax, 32(%%r12)\n\t"
      "mov %%rcx, 40(%%r12)\n\t"
      "mov %%rdx, 48(%%r12)\n\t"
      "mov %%rbx, 56(%%r12)\n\t"
      "fxsave64 256(%%r12)\n\t"
      "fninit\n\t"
      "ldmxcsr %2\n\t"
      "pop %%rbp\n\t"
      :
      : "r"(r), "r"(code), "m"(mxcsr)
      : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "cc", "memory", "xmm0", "xmm1",
        "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
        "xmm15");
}

int main(int argc, char **argv) {
  if (argc != 3 || sizeof(struct record) != 768) return 2;
  struct sigaction action = {.sa_sigaction = onSignal, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
  sigaltstack(&stack, NULL);
  sigaction(SIGFPE, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGILL, &action, NULL);
  sigaction(SIGBUS, &action, NULL);

  int from = open(argv[1], O_RDONLY);
  struct stat status;
  if (from < 0 || fstat(from, &status) != 0) return 2;
  size_t size = status.st_size;
  struct record *records = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, from, 0);
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (records == MAP_FAILED || code == MAP_FAILED) return 2;
  uint8_t last[32] = {0};
  for (size_t i = 0; i < size / sizeof(struct record); i++) {
    struct record *r = &records[i];
    if (memcmp(last, r->code, 32) != 0) {
      memcpy(last, r->code, 32);
      codeLength = r->code[0];
      memcpy(code, r->code + 1, codeLength);
      code[codeLength] = 0xc3;
    }
    trap = 255;
    run(r);
    r->code[0] = trap;
  }
  int to = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  for (size_t done = 0; done < size;) {
    ssize_t n = write(to, (char *)records + done, size - done);
    if (n <= 0) return 2;
    done += n;
  }
  return 0;
}
