/**
 * Kernels for tests, assembled by NASM (`-f bin`): each is a whole ELF file, headers and all, in hexadecimal. Their
 * sources are beside them in comments.
 */

function bytesOf(hex: string): Uint8Array {
  return Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
}

/**
 * A Multiboot kernel that prints `hello` on COM1 and then does what the last letter of its command line says: power off
 * (`p`), reset (`r`), triple fault (`t`), end at port 0xF4 with 5 (`x`), send back what comes in up to an `r` and reset
 * or a `q` and power off (`e`), or else halt for ever.
 *
 * ```nasm
 * bits 32
 * org 0x100000
 * ehdr:
 *   db 0x7f, "ELF", 1, 1, 1, 0
 *   times 8 db 0
 *   dw 2, 3
 *   dd 1, start, phdr - ehdr, 0, 0
 *   dw 52, 32, 1, 0, 0, 0
 * phdr:
 *   dd 1, 0, ehdr, ehdr, end - ehdr, end - ehdr + 64, 7, 0x1000
 * align 4
 * multiboot:
 *   dd 0x1badb002, 3, -(0x1badb002 + 3)
 * hello: db "hello", 10, 0
 * start:
 *   mov esp, end + 64
 *   mov esi, hello
 * .print:
 *   lodsb
 *   test al, al
 *   jz .command
 *   call send
 *   jmp .print
 * .command:
 *   mov esi, [ebx + 16]
 * .last:
 *   mov cl, al
 *   lodsb
 *   test al, al
 *   jnz .last
 *   cmp cl, 'p'
 *   je poweroff
 *   cmp cl, 'r'
 *   je reset
 *   cmp cl, 't'
 *   je triple
 *   cmp cl, 'e'
 *   je echo
 *   cmp cl, 'x'
 *   je exit
 *   cli
 *   hlt
 * poweroff:
 *   mov dx, 0x404
 *   mov ax, 0x2000
 *   out dx, ax
 *   jmp $
 * reset:
 *   mov dx, 0xcf9
 *   mov al, 6
 *   out dx, al
 *   jmp $
 * triple:
 *   lidt [none]
 *   int3
 * exit:
 *   mov al, 5
 *   out 0xf4, al
 *   jmp $
 * echo:
 *   mov dx, 0x3fd
 *   in al, dx
 *   test al, 1
 *   jz echo
 *   mov dl, 0xf8
 *   in al, dx
 *   call send
 *   cmp al, 'r'
 *   je reset
 *   cmp al, 'q'
 *   jne echo
 *   jmp poweroff
 * send:
 *   mov ah, al
 *   mov dx, 0x3fd
 * .wait:
 *   in al, dx
 *   test al, 0x20
 *   jz .wait
 *   mov dl, 0xf8
 *   mov al, ah
 *   out dx, al
 *   ret
 * none: times 6 db 0
 * end:
 * ```
 */
export const MULTIBOOT_KERNEL = bytesOf(`
  7f454c460101010000000000000000000200030001000000670010003400000000000000000000003400200001000000
  0000000001000000000000000000100000001000f700000037010000070000000010000002b0ad1b03000000fb4f52e4
  68656c6c6f0a00bc37011000be60001000ac84c07407e865000000ebf48b731088c1ac84c075f980f970741680f97274
  1d80f974742180f965742a80f978741ffaf466ba040466b8002066efebfe66baf90cb006eeebfe0f011df1001000ccb0
  05e6f4ebfe66bafd03eca80174f7b2f8ece80a0000003c7274d43c7175e7ebc288c466bafd03eca82074fbb2f888e0ee
  c3000000000000
`);

/**
 * A kernel with Linux's 64-bit entry that prints its command line on COM1 and powers off.
 *
 * ```nasm
 * bits 64
 * org 0x1000000
 * ehdr:
 *   db 0x7f, "ELF", 2, 1, 1, 0
 *   times 8 db 0
 *   dw 2, 62
 *   dd 1
 *   dq start, phdr - ehdr, 0
 *   dd 0
 *   dw 64, 56, 1, 0, 0, 0
 * phdr:
 *   dd 1, 7
 *   dq 0, ehdr, ehdr, end - ehdr, end - ehdr, 0x1000
 * start:
 *   ; the command line, as boot_params has it
 *   mov esi, [rsi + 0x228]
 * .print:
 *   lodsb
 *   test al, al
 *   jz poweroff
 *   mov ah, al
 *   mov dx, 0x3fd
 * .wait:
 *   in al, dx
 *   test al, 0x20
 *   jz .wait
 *   mov dl, 0xf8
 *   mov al, ah
 *   out dx, al
 *   jmp .print
 * poweroff:
 *   mov dx, 0x404
 *   mov ax, 0x2000
 *   out dx, ax
 *   jmp $
 * end:
 * ```
 */
export const LONG_MODE_KERNEL = bytesOf(`
  7f454c4602010100000000000000000002003e0001000000780000010000000040000000000000000000000000000000
  000000004000380001000000000000000100000007000000000000000000000000000001000000000000000100000000
  a100000000000000a10000000000000000100000000000008bb628020000ac84c0741288c466bafd03eca82074fbb2f8
  88e0eeebe966ba040466b8002066efebfe
`);
