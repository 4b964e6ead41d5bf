;@ long64
;= load8 d0000000
;= r 3
;= load16 d0000002
;= r 3625
;= load32 d0000004
;= r 7a695847
;= load64 d0000008
;= r bead9c8b
;= r 2f1e0cf
;= store8 d0000010 88
;= store16 d0000010 7788
;= store32 d0000010 55667788
;= store64 d0000010 1122334455667788
;= store32 d0000021 12345678
;= load32 d0000030
;= store32 d0000030 66554434
;= load8 d0000000
;= r 3
;= load16 d0000002
;= r 3625
;= load32 d0000040
;= store32 d0000040 c0ffee
;= r 76655443
;= load32 d0000044
;= r 1
;= store8 d0000050 a
;= store8 d0000051 b
;= store8 d0000052 c
;= store64 d0000058 5a5a5a5a5a5a5a5a
;= store64 d0000060 5a5a5a5a5a5a5a5a
        bits 64
%include "common.inc"
        mov rbx, MMIO
        xor eax, eax
        mov al, [rbx]
        REPORT
        xor eax, eax
        mov ax, [rbx + 2]
        REPORT
        mov eax, [rbx + 4]
        REPORT
        mov rax, [rbx + 8]
        REPORT
        shr rax, 32
        REPORT
        mov rax, 0x1122334455667788
        mov [rbx + 0x10], al
        mov [rbx + 0x10], ax
        mov [rbx + 0x10], eax
        mov [rbx + 0x10], rax
        mov dword [rbx + 0x21], 0x12345678      ; misaligned
        inc dword [rbx + 0x30]                  ; read, modify, write
        movzx eax, byte [rbx]
        REPORT
        movsx eax, word [rbx + 2]
        REPORT
        mov eax, 0xc0ffee
        xchg eax, [rbx + 0x40]
        REPORT
        cmp dword [rbx + 0x44], 0xbaa99887
        sete al
        movzx eax, al
        REPORT
        mov esi, source
        lea rdi, [rbx + 0x50]
        mov ecx, 3
        rep movsb
        mov rax, 0x5a5a5a5a5a5a5a5a
        lea rdi, [rbx + 0x58]
        mov ecx, 2
        rep stosq
        FINISH
source: db 10, 11, 12
