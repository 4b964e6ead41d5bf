;@ protected32
;= r f00
;= r 0
;= r f0d
;= r 1230
;= r f0d
;= r 0
;= r f06
;= r 0
;= r f03
;= r 0
;= r f04
;= r 0
;= r f05
;= r 0
;= r f0b
;= r 50
;= r 80
;= r 23
; 32-bit protected mode: faults and their error codes, software interrupts from ring 3, and IRET.
        bits 32
%include "common.inc"
%macro TRY 1+
        mov dword [resume], %%after
        mov [resume_esp], esp
        %1
        REPORT 0
%%after:
%endmacro
        mov edi, IDT_AT
        mov eax, stubs
        mov ecx, 32
.next:  mov [edi], ax
        mov word [edi + 2], CS32
        mov word [edi + 4], 0xee00
        mov edx, eax
        shr edx, 16
        mov [edi + 6], dx
        add edi, 8
        add eax, 16
        dec ecx
        jnz .next
        mov edi, IDT_AT + 0x80 * 8
        mov eax, on80
        mov [edi], ax
        mov word [edi + 2], CS32
        mov word [edi + 4], 0xee00
        shr eax, 16
        mov [edi + 6], ax
        xor ecx, ecx
        xor edx, edx
        TRY div ecx
        mov eax, 0x1230
        TRY mov es, ax                          ; past the table
        TRY mov [cs:DATA], eax                  ; code is not written
        TRY ud2
        TRY int3
        mov al, 0x7f
        add al, 1
        TRY into
        mov eax, 9
        TRY bound eax, [limits]
        mov dword [GDT_AT + 0x50], 0x0000ffff   ; data that is not present
        mov dword [GDT_AT + 0x54], 0x00cf1300
        mov eax, 0x50
        TRY mov fs, ax
        mov [resume_esp], esp
        push DS_USER
        push 0x70000
        push 2
        push CS32_USER
        push user
        iretd
user:   int 0x80
on80:   REPORT 0x80
        mov eax, [esp + 16]                     ; the stack segment of ring 3
        REPORT
        FINISH
limits: dd 0, 5
        align 16
stubs:
%assign vector 0
%rep 32
        align 16
%if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17
        push 0
%endif
        push vector
        jmp fault_common
%assign vector vector + 1
%endrep
fault_common: mov eax, [esp]
        or eax, 0xf00
        REPORT
        mov eax, [esp + 4]
        REPORT
        mov esp, [resume_esp]
        pushfd
        push CS32
        push dword [resume]
        iretd
resume: dd 0
resume_esp: dd 0
