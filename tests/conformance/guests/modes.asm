;@ real
;= r 16
;= r 32
;= r 36
;= r 64
;= r 99
;= r 32
;= r 34
;= r 16
;= r 17
; Real mode, protected, paged with PAE tables, long, compatibility, and all the way back.
        bits 16
%include "common.inc"
        REPORT 0x16
        cli
        lgdt [table]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword 0x08:protected
        bits 32
protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, STACK_TOP
        REPORT 0x32
        ; PAE, one 2 MiB page
        mov dword [TABLES + 0x1000], TABLES + 0x2001
        mov dword [TABLES + 0x1004], 0
        mov dword [TABLES + 0x2000], 0x83
        mov dword [TABLES + 0x2004], 0
        mov eax, cr4
        or al, 0x20
        mov cr4, eax
        mov eax, TABLES + 0x1000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        jmp .pae
.pae:   REPORT 0x36
        mov eax, cr0
        and eax, 0x7fffffff
        mov cr0, eax
        ; four levels
        mov dword [TABLES + 0x3000], TABLES + 0x4003
        mov dword [TABLES + 0x3004], 0
        mov dword [TABLES + 0x4000], TABLES + 0x2003
        mov dword [TABLES + 0x4004], 0
        mov eax, TABLES + 0x3000
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x100
        wrmsr
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        jmp 0x18:long_mode
        bits 64
long_mode: mov rax, 0x6400000000
        shr rax, 32
        REPORT
        mov r15, 0x1234567890
        ; compatibility mode: the same tables, 32-bit code
        push 0x08
        push compatibility
        retfq
        bits 32
compatibility:
        mov eax, 0x98
        inc eax                                 ; 40h: INC in 32-bit code, a prefix in 64-bit code
        db 0x40
        dec eax
        REPORT
        ; out of long mode: paging off first
        mov eax, cr0
        and eax, 0x7fffffff
        mov cr0, eax
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~0x100
        wrmsr
        REPORT 0x32
        mov eax, cr4
        and al, 0xdf
        mov cr4, eax
        ; 16-bit protected, then real
        jmp 0x20:sixteen
        bits 16
sixteen:
        mov ax, 0x28
        mov ds, ax
        mov es, ax
        mov ss, ax
        REPORT 0x34
        mov eax, cr0
        and al, 0xfe
        mov cr0, eax
        jmp 0:real
real:   xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x7f00
        REPORT 0x16
        call far [pointer]
        REPORT 0x17
        FINISH
far_routine:
        retf
pointer: dw far_routine, 0
        align 8
gdt:    dq 0
        dq 0x00cf9b000000ffff
        dq 0x00cf93000000ffff
        dq 0x00af9b000000ffff
        dq 0x00009b000000ffff
        dq 0x000093000000ffff
gdt_end:
table:  dw gdt_end - gdt - 1
        dd gdt
