;@ long64 needs=smep
;= r f0e
;= r 11
;= r 40000000
;= r 5
; SMEP: ring 0 does not execute pages of ring 3.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        ; everything low belongs to ring 3 at first: a supervisor copy of the first 2 MiB of code
        mov rax, cr4
        mov r8, rax
        and qword [PD_AT], ~4                   ; the page this code is in: supervisor
        mov rax, DATA + 0x87
        mov [PD_AT + 8], rax                    ; DATA stays user
        mov rax, TABLES + 7
        mov [PDPT_AT + 8], rax
        mov rax, DATA + 0x87
        mov [TABLES], rax
        mov byte [DATA], 0xc3                   ; ret
        mov rax, cr3
        mov cr3, rax
        mov rax, r8
        or rax, 1 << 20
        mov cr4, rax
        mov rbx, 0x40000000
        TRY call rbx
        mov rax, r8
        mov cr4, rax
        call rbx
        REPORT 5
        FINISH
