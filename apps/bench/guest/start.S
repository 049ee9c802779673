/* Multiboot 1 entry (32-bit protected mode, flat, no paging) of the processor benchmark, for 32- and 64-bit code. */

    .set MAGIC, 0x1badb002
    .set FLAGS, 0
    .section .multiboot, "a"
    .align 4
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)

    .section .text
    .code32
    .globl _start
_start:
    movl $stack_end, %esp
    /* SSE: CR0.EM off, CR0.MP on, CR4.OSFXSR and OSXMMEXCPT on; PSE and PAE for the large pages below. */
    movl %cr0, %eax
    andl $~4, %eax
    orl $2, %eax
    movl %eax, %cr0
    movl %cr4, %eax
#ifdef __x86_64__
    orl $0x620, %eax
#else
    orl $0x610, %eax
#endif
    movl %eax, %cr4

    /* The first GiB maps to itself by large pages: of 2 MiB in long mode, else of 4 MiB. */
    movl $directory, %edi
    movl $0x83, %eax
#ifdef __x86_64__
    movl $512, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    movl $directory + 3, pointers
    movl $pointers + 3, level4
    movl $level4, %eax
#else
    movl $256, %ecx
1:  movl %eax, (%edi)
    addl $0x400000, %eax
    addl $4, %edi
    loop 1b
    movl $directory, %eax
#endif
    movl %eax, %cr3
#ifdef __x86_64__
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
#endif
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
#ifdef __x86_64__
    lgdt gdt_pointer
    ljmp $8, $2f
    .code64
2:  movl $stack_end, %esp
#endif
    call benchmark
3:  cli
    hlt
    jmp 3b

    .section .data
    .align 8
gdt:
    .quad 0, 0x00af9a000000ffff
gdt_pointer:
    .word 15
    .long gdt

    .section .bss
    .align 4096
directory:
    .skip 4096
#ifdef __x86_64__
level4:
    .skip 4096
pointers:
    .skip 4096
#endif
stack:
    .skip 0x40000
stack_end:
