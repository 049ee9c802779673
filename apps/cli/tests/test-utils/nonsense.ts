/**
 * A program for Linux that drives a VMBus device from user space, badly: writes random words over its ring, every other
 * time with a write index that can be, and signals the host, 500 times. An ELF file assembled by NASM (`-f bin`).
 *
 * ```nasm
 * bits 64
 * org 0x400000
 * ehdr:
 *   db 0x7f, "ELF", 2, 1, 1, 0
 *   times 8 db 0
 *   dw 2, 62
 *   dd 1
 *   dq start, phdr - ehdr, 0
 *   dd 0
 *   dw 64, 56, 1, 0, 0, 0
 * phdr:
 *   dd 1, 5
 *   dq 0, ehdr, ehdr, end - ehdr, end - ehdr, 0x1000
 * path: db "/dev/uio0", 0
 * one: dd 1
 * pause: dq 0, 50000
 * start:
 *   mov eax, 2                ; open
 *   lea rdi, [rel path]
 *   mov esi, 2                ; O_RDWR
 *   syscall
 *   mov edi, eax
 *   test eax, eax
 *   js exit
 *   mov r12d, eax
 *   mov eax, 9                ; mmap
 *   xor edi, edi
 *   mov esi, 0x10000
 *   mov edx, 3                ; PROT_READ | PROT_WRITE
 *   mov r10d, 1               ; MAP_SHARED
 *   mov r8d, r12d
 *   xor r9d, r9d
 *   syscall
 *   mov edi, 1
 *   cmp rax, -4096
 *   ja exit
 *   mov rbx, rax
 *   mov r13, 0x9e3779b97f4a7c15
 *   mov r14d, 500
 * .round:
 *   mov r15d, 16
 * .word:
 *   call random
 *   mov ecx, eax
 *   and ecx, 0xfffc
 *   shr rax, 32
 *   mov [rbx + rcx], eax
 *   dec r15d
 *   jnz .word
 *   call random
 *   test al, 1
 *   jz .signal
 *   and eax, 0xfff8           ; a write index that can be
 *   mov [rbx], eax
 * .signal:
 *   mov eax, 1                ; write, which lets the kernel signal the host
 *   mov edi, r12d
 *   lea rsi, [rel one]
 *   mov edx, 4
 *   syscall
 *   mov edi, 2
 *   cmp eax, 4
 *   jne exit
 *   mov eax, 35               ; nanosleep, while the host looks
 *   lea rdi, [rel pause]
 *   xor esi, esi
 *   syscall
 *   dec r14d
 *   jnz .round
 *   xor edi, edi
 * exit:
 *   mov eax, 60
 *   syscall
 * random:                     ; xorshift64
 *   mov rax, r13
 *   shl rax, 13
 *   xor r13, rax
 *   mov rax, r13
 *   shr rax, 7
 *   xor r13, rax
 *   mov rax, r13
 *   shl rax, 17
 *   xor r13, rax
 *   mov rax, r13
 *   ret
 * end:
 * ```
 */
export const NONSENSE: Uint8Array = Buffer.from(
  `
  7f454c4602010100000000000000000002003e0001000000960040000000000040000000000000000000000000000000
  000000004000380001000000000000000100000005000000000000000000000000004000000000000000400000000000
  8401000000000000840100000000000000100000000000002f6465762f75696f300001000000000000000000000050c3
  000000000000b802000000488d3dd6ffffffbe020000000f0589c785c00f88a80000004189c4b80900000031ffbe0000
  0100ba0300000041ba010000004589e04531c90f05bf01000000483d00f0ffff77794889c349bd157c4a7fb979379e41
  bef401000041bf10000000e86200000089c181e1fcff000048c1e82089040b41ffcf75e7e849000000a801740725f8ff
  00008903b8010000004489e7488d354fffffffba040000000f05bf0200000083f8047517b823000000488d3d36ffffff
  31f60f0541ffce759c31ffb83c0000000f054c89e848c1e00d4931c54c89e848c1e8074931c54c89e848c1e0114931c5
  4c89e8c3
  `.replaceAll(/\s/g, ''),
  'hex',
);
