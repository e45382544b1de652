# SPDX-License-Identifier: Apache-2.0
# Completion of ballastctl for bash. Names of guests, DIMMs, drains and operations come from ballastd, if it answers.

_ballastctl_names() {
	local key=$1 command=$2

	ballastctl --json "$command" 2>/dev/null |
		sed -n "s/^ \{2,4\}\"$key\": \"\([^\"]*\)\",\{0,1\}$/\1/p"
}

_ballastctl() {
	local commands="status nodes dimms blocks guests guest policy resize move drain undrain drains holders operations
		operation pause resume cancel hint events check attach-agent"
	local options="--socket --url --json --fresh --detach --dry-run --expect-plan --timeout --on-timeout --to --map --cells --cell
		--near-cpus --cpus --persist --lazy --budget --stall-budget --order --dimm --node --range --finish --offline --eject --not-before --allow --reason --undo --keep
		--minimum --maximum --request-limit --online-policy --zone-repair --priority --allowed-nodes --address --risk --version --help"
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command="" candidates="" i

	for ((i = 1; i < COMP_CWORD; i++)); do
		case " $commands " in
		*[[:space:]]"${COMP_WORDS[i]}"[[:space:]]*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $before in
	--socket)
		COMPREPLY=($(compgen -f -- "$word"))
		return
		;;
	--dimm) candidates=$(_ballastctl_names id dimms) ;;
	--finish) candidates="cordon empty offline eject" ;;
	--on-timeout) candidates="stop restore continue" ;;
	--undo) candidates="yes no" ;;
	--online-policy) candidates="leave movable unset" ;;
	--zone-repair) candidates="yes no unset" ;;
	--risk) candidates="low high uncorrected" ;;
	--order) candidates="cold-first hot-first any" ;;
	--allow) candidates="shrink_guests remote_memory split_huge_pages gigantic_pages locked_guests stored_xml policy_shift may_crash_host" ;;
	--url | --expect-plan | --timeout | --to | --map | --cells | --cell | --budget | --stall-budget | --node | --range | --not-before | --reason | --minimum | --request-limit | \
		--maximum | --priority | --allowed-nodes | --address) return ;;
	*)
		if [[ $word == -* ]]; then
			candidates=$options
		elif [ -z "$command" ]; then
			candidates=$commands
		else
			case $command in
			guest | policy | resize | move | attach-agent)
				[ "$before" = "$command" ] && candidates=$(_ballastctl_names name guests)
				;;
			undrain) candidates=$(_ballastctl_names id drains) ;;
			operation) candidates=$(_ballastctl_names id operations) ;;
			pause | resume | cancel)
				candidates="$(_ballastctl_names id operations) $(_ballastctl_names id drains)"
				;;
			esac
		fi
		;;
	esac
	COMPREPLY=($(compgen -W "$candidates" -- "$word"))
}
complete -F _ballastctl ballastctl
