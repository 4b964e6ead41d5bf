;@ long64
;= r f06
;= r 0
;= r 5e
;= r f0e
;= r 5
;= r 40000000
;= r f0e
;= r 5
;= r 40000000
;= r f0e
;= r 7
;= r 40000000
;= r f0e
;= r 15
;= r 40001000
;= r f0d
;= r 0
;= r f0d
;= r 0
; What ring 3 may touch: user/supervisor at each level, write, execute, port and privileged instructions.
        bits 64
%include "common.inc"
%include "faults64.inc"
%define PML4 TABLES
%define PDPT TABLES + 0x1000
%define PD   TABLES + 0x2000
%define PT   TABLES + 0x3000
%macro ALL 0
        MAP PML4, 0, PDPT + 7
        MAP PDPT, 0, PD_AT + 7
        MAP PDPT, 1, PD + 7
        MAP PD, 0, PT + 7
        MAP PT, 0, DATA + 7
        MAP PT, 1, DATA + 0x1000 + 3
        mov rax, PML4
        mov cr3, rax
%endmacro
%macro WITH 3
        ALL
        MAP %1, %2, %3
        mov rax, PML4
        mov cr3, rax
%endmacro
; USER label: ring 3 runs from the label until it faults
%macro USER 1
        mov qword [resume], %%after
        mov [resume_rsp], rsp
        push DS_USER
        push 0x70000
        push 2
        push CS64_USER
        push %1
        iretq
%%after:
%endmacro
        FAULTS64
        mov rbx, 0x40000000
        mov dword [DATA], 0x5e
        ALL
        USER read
        mov eax, ecx
        REPORT
        WITH PD, 0, PT + 3
        USER read
        WITH PT, 0, DATA + 3
        USER read
        WITH PT, 0, DATA + 5
        USER write
        ALL
        USER execute
        USER port
        USER halt
        FINISH
read:   mov ecx, [rbx]
        ud2
write:  mov [rbx], ecx
        ud2
execute:
        lea rax, [rbx + 0x1000]
        jmp rax
port:   in al, 0x60
        ud2
halt:   hlt
