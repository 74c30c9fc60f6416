@echo off
rem Finds a 64-bit Python 3.10 or newer and hands over to scripts\torch_starter\bootstrap.py.
rem   bootstrap.cmd --help
rem BOOTSTRAP_PYTHON=C:\path\to\python.exe names the Python to start with.
setlocal EnableExtensions DisableDelayedExpansion
rem The py launcher must only look here, not install anything.
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"
set "PYLAUNCHER_ALLOW_INSTALL="
rem A python.bat in the current folder is not a Python.
set "NoDefaultCurrentDirectoryInExePath=1"
rem A fitting Python exits with 63, the bits of a 64-bit sys.maxsize: what is no Python may well exit with 0.
rem No angle brackets here: cmd could take them for redirections.
set "BOOTSTRAP_PROBE=import sys; sys.exit(sys.maxsize.bit_length() * (min(sys.version_info[:2], (3, 10)) == (3, 10)))"
set "BOOTSTRAP_FOUND="
set "BOOTSTRAP_ARGS="

if not defined BOOTSTRAP_PYTHON goto search
set "BOOTSTRAP_FOUND=%BOOTSTRAP_PYTHON:"=%"
rem Control would not come back from a batch file; "call" itself would spoil a caret in the path.
set "BOOTSTRAP_CALL=call"
for %%I in ("%BOOTSTRAP_FOUND%") do if /i "%%~xI"==".exe" set "BOOTSTRAP_CALL="
%BOOTSTRAP_CALL% "%BOOTSTRAP_FOUND%" -I -c "%BOOTSTRAP_PROBE%" <nul >nul 2>nul
if "%ERRORLEVEL%"=="63" goto start
echo bootstrap: BOOTSTRAP_PYTHON="%BOOTSTRAP_FOUND%" is not a 64-bit Python 3.10 or newer.>&2
echo Set it to the path of one, or unset it to have one searched for.>&2
exit /b 3

:search
call :try py -3
for %%N in (python3.14 python3.13 python3.12 python3.11 python3.10 python3 python) do call :try %%N
if defined BOOTSTRAP_FOUND goto start
call :try uv "run --no-project --python 3.12 python"
if defined BOOTSTRAP_FOUND goto start
echo bootstrap: no 64-bit Python 3.10 or newer was found by the py launcher or on PATH.>&2
echo Install one (winget install Python.Python.3.12) or uv, or set BOOTSTRAP_PYTHON to its path, and run this again.>&2
exit /b 3

:start
"%BOOTSTRAP_FOUND%" %BOOTSTRAP_ARGS% -X utf8 -I "%~dp0scripts\torch_starter\bootstrap.py" %*
exit /b %ERRORLEVEL%

rem Judge a candidate by running it: the Store's alias is on PATH without a Python behind it.
rem "call", since a pyenv-win shim is a batch file.
:try
if defined BOOTSTRAP_FOUND exit /b 0
set "BOOTSTRAP_ARGS=%~2"
call "%~1" %~2 -I -c "%BOOTSTRAP_PROBE%" <nul >nul 2>nul
if "%ERRORLEVEL%"=="63" set "BOOTSTRAP_FOUND=%~1"
exit /b 0
