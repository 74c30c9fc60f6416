# For PowerShell. Where scripts are not allowed to run, call bootstrap.cmd itself.
& (Join-Path $PSScriptRoot 'bootstrap.cmd') @args
exit $LASTEXITCODE
