;@ long64
;= r 0
;= r f0e
;= r 2
;= r 40001000
;= r ff8
;= r 1
;= r 0
;= r f0e
;= r 0
;= r 40001000
;= r 3
; String instructions that run into a missing page stop exactly there, with everything before it done.
        bits 64
%include "common.inc"
%include "faults64.inc"
        FAULTS64
        MAP TABLES, 0, PD_AT                    ; (unused slot: keeps the macro's register use visible)
        mov rax, TABLES + 0x1000 + 7
        mov [PDPT_AT + 8], rax
        MAP TABLES + 0x1000, 0, TABLES + 0x2000 + 7
        MAP TABLES + 0x2000, 0, DATA + 7        ; 4000_0000h: one page, nothing behind it
        mov rax, cr3
        mov cr3, rax
        mov edi, DATA
        mov esi, 0x400000
        mov ecx, 512
        mov rax, 0x1122334455667788
        rep stosq
        mov edi, 0x400000
        mov ecx, 512
        rep stosq
        mov esi, DATA
        mov edi, 0x400000
        mov ecx, 512
        repe cmpsq
        mov eax, ecx
        REPORT                                  ; all equal
        mov edi, 0x40000000 + 8
        mov ecx, 1000
        mov rax, 0x55
        mov qword [resume], .stored
        mov [resume_rsp], rsp
        rep stosq
.stored:
        mov eax, edi
        sub eax, 0x40000000 + 8
        REPORT
        cmp qword [DATA + 0xff8], 0x55
        sete al
        movzx eax, al
        REPORT
        mov edi, DATA
        mov ecx, 512
        mov rax, 0x55
        repe scasq                              ; the first is not
        sub ecx, 511
        mov eax, ecx
        REPORT
        mov esi, 0x40000000 + 0xfe8
        mov edi, 0x500000
        mov ecx, 10
        mov qword [resume], .moved
        rep movsq
.moved: mov eax, 10
        sub eax, ecx
        REPORT
        FINISH
