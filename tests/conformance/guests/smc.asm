;@ long64
;= r 11
;= r 22
;= r 33
;= r 44
;= r 55
;= r 66
;= r 77
;= r 88
; Code that changes itself: another routine, the same again after it ran, the next instruction, an alias, a page end, REP.
        bits 64
%include "common.inc"
        call target
        REPORT
        mov byte [target + 1], 0x22
        call target
        REPORT
        mov byte [.next + 1], 0x33              ; the very next instruction
.next:  mov eax, 0x99
        REPORT
        mov rax, PD_AT                          ; 4000_0000h shows the first 2 MiB again
        mov ecx, TABLES
        mov rdx, [PD_AT]
        mov [rcx], rdx
        or rcx, 7
        mov [PDPT_AT + 8], rcx
        mov rax, cr3
        mov cr3, rax
        mov rbx, 0x40000000
        mov byte [rbx + target + 1], 0x44       ; written by one address, run by another
        call target
        REPORT
        ; an instruction across a page end, changed in its second page
        mov rdi, DATA + 0xffe
        mov dword [rdi], 0x000000b8             ; mov eax, imm32
        mov word [rdi + 4], 0xc300
        mov byte [rdi + 1], 0x54
        call rdi
        inc byte [rdi + 1]
        call rdi
        REPORT
        sub dword [rdi + 1], 0x55
        mov byte [rdi + 3], 0x66                ; bits 23:16, in the second page
        call rdi
        shr eax, 16
        REPORT
        ; a string copy over code that just ran
        mov esi, replacement
        mov edi, target
        mov ecx, replacement_end - replacement
        rep movsb
        call target
        REPORT
        ; a loop that counts its own increments of an immediate
        mov ecx, 0x88
loop_head:
        inc byte [count + 1]
count:  mov eax, 0
        dec ecx
        jnz loop_head
        REPORT
        FINISH
target: mov eax, 0x11
        ret
replacement:
        mov eax, 0x77
        ret
replacement_end:
