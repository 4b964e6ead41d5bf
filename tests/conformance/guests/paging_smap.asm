;@ long64 needs=smap
;= r f0e
;= r 1
;= r 40000000
;= r 0
;= r f0e
;= r 3
;= r 40000000
;= r 0
; SMAP: ring 0 touches pages of ring 3 only while AC is set.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        mov ecx, 512
        mov edi, PD_AT
.next:  and qword [rdi], ~4                     ; all of low memory: supervisor
        add edi, 8
        dec ecx
        jnz .next
        mov rax, TABLES + 7
        mov [PDPT_AT + 8], rax
        mov rax, DATA + 0x87
        mov [TABLES], rax                       ; 4000_0000h: user
        mov rax, cr4
        or rax, 1 << 21
        mov cr4, rax
        mov rax, cr3
        mov cr3, rax
        clac
        mov rbx, 0x40000000
        TRY mov ecx, [rbx]
        stac
        TRY mov ecx, [rbx]
        clac
        TRY mov [rbx], ecx
        stac
        TRY mov [rbx], ecx
        clac
        FINISH
